from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from conf import PipelineConfig
from jobs.storage.workspace import Workspace
from tests.helpers import computed, go, planned, reads, scenery, write_clip, write_noise_stream

pytestmark = pytest.mark.process

STAGES = PipelineConfig().closed_stages


def test_a_plan_of_new_frames_says_so_and_counts_as_the_run_does(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(20))
    plan = planned(workspace, cam)
    assert {name: f.reasons for name, f in plan.items()} == {name: {"new": 20} for name in STAGES}
    assert {name: f.compute for name, f in plan.items()} == computed(go(workspace, cam))
    write_noise_stream(cam, range(90, 94), start=20)
    plan = planned(workspace, cam)
    assert plan["duplicates"].compute == plan["quality"].compute == 4
    assert plan["curation"].reasons == {"upstream changed: frames, quality, idle, duplicates": 24}
    assert {name: f.compute for name, f in plan.items()} == computed(go(workspace, cam))


def test_a_file_from_the_future_is_not_read_by_every_run(workspace: Workspace, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    clip = write_clip(tmp_path / "clip.mp4", scenery(4))
    future = time.time_ns() + 3_600_000_000_000
    for path in (cam / "image_2.jpg", clip):
        os.utime(path, ns=(future, future))
    time.sleep(0.05)
    go(workspace, cam, clip)
    assert reads(go(workspace, cam, clip)) == (0, 0)
    # A write brings the present back, and is noticed.
    (cam / "image_2.jpg").write_bytes((cam / "image_1.jpg").read_bytes())
    assert computed(go(workspace, cam, clip))["frames"] == 1
