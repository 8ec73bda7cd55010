"""`winnow job` as scripts see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.core.errors import StoppedRunError, UserError
from jobs.engine.ray_engine import Engine
from jobs.records.job_log import JobLog
from jobs.storage import paths
from tests.helpers import on_disk, problems, said, winnow, write_noise_stream

pytestmark = pytest.mark.usefixtures("engine")


def test_a_run_is_paused_stepped_and_resumed(tmp_path: Path, engine: Engine) -> None:
    cam, place = write_noise_stream(tmp_path / "cam", range(6)), tmp_path / "tables"
    paused = winnow("run", "-i", cam, "-w", place, "--pause-after", "quality", "--json")
    assert isinstance(paused.exception, StoppedRunError)
    assert paused.exception.exit_code == 4
    summary = json.loads(paused.output.splitlines()[-1])
    assert (summary["state"], summary["stages"]["frames"]["computed"]) == ("paused", 6)
    job_id = summary["job_id"]
    asked = said(winnow("job", "pause-after", "idle", job_id, "-w", place, "--json"))
    assert asked == {"job_id": job_id, "state": "paused", "request": "pause-after"}
    assert said(winnow("job", "pause", job_id, "-w", place, "--json"))["state"] == "paused"
    stepped = winnow("job", "step", job_id, "-w", place)
    assert isinstance(stepped.exception, StoppedRunError)
    assert "continues with `winnow job resume" in stepped.exception.problems[0]
    assert said(winnow("job", "resume", job_id, "-w", place, "--json"))["state"] == "done"
    assert problems(winnow("job", "resume", job_id, "-w", place)) == [
        f"job {job_id} is done, expected one that is paused or has failed"
    ]
    assert problems(winnow("job", "clear", job_id, "-w", place)) == [f"job {job_id} made what the tables show of cam"]


def test_wrong_words_are_refused_all_at_once(tmp_path: Path) -> None:
    found = problems(winnow("run", "-i", "x", "--pause-after", "sharpness", "-w", __file__))
    assert len(found) == 3
    assert "is a file, expected a folder" in found[0]
    assert "stage 'sharpness' is not part of the job" in found[1]
    assert "input x does not exist" in found[2]


def test_a_job_of_the_queue_is_left_to_gateways(tmp_path: Path, engine: Engine) -> None:
    cam, place = write_noise_stream(tmp_path / "cam", range(3)), tmp_path / "tables"
    assert winnow("run", "-i", cam, "-w", place).exit_code == 0
    job_log = JobLog(paths.place(place), "queued")
    job_log.add("submitted")
    for words, state in (
        (("pause",), "paused"),
        (("resume",), "pending"),
        (("pause-after", "x"), None),
        (("cancel",), "cancelled"),
    ):
        result = winnow("job", *words, "queued", "-w", place, "--json")
        if state is None:
            assert isinstance(result.exception, UserError)
            continue
        assert said(result)["state"] == state
    assert said(winnow("job", "clear", "queued", "-w", place, "--json")) == {"job_id": "queued", "cleared": True}
    assert not on_disk(job_log.folder).exists()


def test_a_run_is_replayed_and_compared_and_one_stage_recomputed(tmp_path: Path, engine: Engine) -> None:
    cam, place = write_noise_stream(tmp_path / "cam", range(8)), tmp_path / "tables"
    first = said(winnow("run", "-i", cam, "-w", place, "--json"))
    replay = ("job", "replay", "last", "--from", "curation", "-w", place, "--json")
    child = said(winnow(*replay, "--set", "curation.dark_mean=255"))
    assert (child["state"], child["parent"]) == ("done", first["job_id"])
    listed = said(winnow("inspect", "runs", "-w", place, "--json"))
    assert [(row["job_id"], row["parent"]) for row in listed] == [
        (first["job_id"], None),
        (child["job_id"], first["job_id"]),
    ]
    drawn = winnow("inspect", "runs", "-w", place).output.splitlines()
    assert drawn[0].startswith(f"{first['job_id']} done, profile quality, 8 frames")
    assert drawn[1].startswith(f"└── {child['job_id']} done")
    assert drawn[1].endswith("| replay --from curation: curation.dark_mean 32.0 -> 255.0")
    differ = winnow("inspect", "run-diff", "last~1", "last", "-w", place)
    assert differ.exit_code == 1
    assert "newly dropped: 8 frames; then dropped for: 8 dark" in differ.output
    assert "  curation cam 0: keep True -> False, reasons [] -> [dark]" in differ.output.splitlines()
    found = winnow("inspect", "run-diff", "last~1", "last", "-w", place, "--json", "--examples", "0")
    assert found.exit_code == 1
    assert json.loads(found.output)["stages"]["curation"]["verdicts"]["newly_dropped"] == {"frames": 8, "dark": 8}
    assert winnow("inspect", "run-diff", "last", "last", "-w", place).exit_code == 0
    again = winnow("job", "replay-stage", first["job_id"], "quality", "-w", place)
    assert (again.exit_code, again.output) == (0, "quality: 8 rows, all the same\n")
    # An image that was replaced meanwhile is measured as it is now.
    (cam / "image_3.jpg").write_bytes((cam / "image_4.jpg").read_bytes())
    again = winnow("job", "replay-stage", first["job_id"], "quality", "-w", place)
    assert (again.exit_code, again.output) == (1, "quality: 8 rows, 1 differ\n")
    assert problems(winnow("job", "retry", first["job_id"], "--only", "quarantined", "-w", place)) == [
        f"no frame of run {first['job_id']} is in quarantine (see winnow inspect quarantine)"
    ]
    assert problems(winnow("job", "clear", first["job_id"], "-w", place))[0].endswith("show of cam")
