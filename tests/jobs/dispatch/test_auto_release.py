from __future__ import annotations

from pathlib import Path

import pytest

import schemas
from jobs.datasets import release
from jobs.dispatch.auto_release import publish
from jobs.engine.ray_engine import Engine
from jobs.ingest.catalogue import IngestOverrides
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")


def test_each_release_says_how_it_differs_from_the_last_one_of_its_schedule(
    workspace: Workspace, tmp_path: Path, engine: Engine
) -> None:
    folder = write_noise_stream(tmp_path / "cam", range(8))
    first = go(workspace, folder).job_id
    # A release of the same name that somebody made by hand is in the way.
    release.create(Store(workspace.root), "nightly-2026-11-21", note="by hand")
    made = publish(workspace, first, "nightly-2026-11-21", [first])
    assert made == {
        "name": "nightly-2026-11-21-2",
        "before": None,
        "frames": 8,
        "kept": 8,
        "dropped_for": {},
        "added": 8,
    }
    # Two new frames, one of them a copy; one frame is missing.
    write_noise_stream(folder, [100, 3], start=8)
    (folder / "image_0.jpg").unlink()
    second = go(workspace, folder, overrides=IngestOverrides(allow_missing=True)).job_id
    made = publish(workspace, second, "nightly-2026-11-22", [first, second])
    assert (made["name"], made["before"]) == ("nightly-2026-11-22", "nightly-2026-11-21-2")
    assert (made["frames"], made["kept"], made["dropped_for"]) == (9, 8, {"exact_duplicate": 1})
    assert (made["added"], made["gone"], made["changed"], made["kept_before"]) == (2, 1, 0, 8)
    # A process that died before the job was done starts over, and makes no second release.
    assert publish(workspace, second, "nightly-2026-11-22", [first, second]) == made
    names = Store(workspace.root).read(schemas.RELEASES)["name"].to_pylist()
    assert sorted(names) == ["nightly-2026-11-21", "nightly-2026-11-21-2", "nightly-2026-11-22"]
