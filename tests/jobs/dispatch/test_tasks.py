from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import schemas
from jobs.core.errors import UserError
from jobs.dispatch import tasks
from jobs.dispatch.execute_job import execute
from jobs.dispatch.job_queue import JobQueue, QueuedJob
from jobs.dispatch.task_options import ExportOptions, ReleaseOptions, SelectOptions, TaskOptions, parse
from jobs.records.job_log import JobLog
from jobs.records.journal import events
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream

pytestmark = pytest.mark.process

N = 6


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("tasks")
    place = Workspace.at(folder / "tables")
    go(place, write_noise_stream(folder / "cam", range(N)))
    return place


def claimed(place: Workspace, options: TaskOptions) -> QueuedJob:
    job_id = tasks.submit(place, options)
    queue = JobQueue(place.root)
    [job] = [job for job in queue.live() if job.job_id == job_id]
    assert queue.claim(job)
    return job


def done(place: Workspace, options: TaskOptions) -> dict[str, Any]:
    """Have this process run a job as one that a gateway started does; return what the records say of its result."""
    job = claimed(place, options)

    def no_run(*_: object) -> Any:
        raise AssertionError

    assert execute(place, job.job_id, no_run) is None
    [over] = [found for found in JobQueue(place.root).jobs() if found.job_id == job.job_id]
    assert (over.state.state, over.kind) == ("done", job.kind)
    written = [event["event"] for event in events(place.root, job.job_id)]
    assert (written[:2], written[-2:]) == (["run_started", "stage_started"], ["stage_done", "run_done"])
    return {"job_id": job.job_id, **over.result}


def test_a_selection_a_release_and_an_export_are_made_by_jobs(measured: Workspace) -> None:
    chosen = done(measured, SelectOptions(name="some", n=4))
    assert (chosen["frames"], chosen["of"]) == (4, N)
    assert done(measured, ReleaseOptions(name="first"))["name"] == "first"
    exported = done(measured, ExportOptions(format="coco", release="first", split={"train": 0.5, "val": 0.5}))
    assert (exported["frames"], sum(exported["splits"].values())) == (N, N)
    file = tasks.exported_file(measured.root, exported["job_id"])
    assert exported["bytes"] == file.stat().st_size
    with zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        names = packed.namelist()
        coco = [json.loads(packed.read(name)) for name in names if name.startswith("annotations")]
    assert sum(len(split["images"]) for split in coco) == sum(name.startswith("images/") for name in names) == N
    assert sorted(path.name for path in file.parent.iterdir()) == [f"{exported['job_id']}.json", file.name]
    figures = tasks.figures_of(measured.root, exported["job_id"])
    assert figures is not None
    assert (figures["frames"], figures["split_report"]["against"]) == (exported["splits"], "train")
    assert "files" not in figures
    done_so_far = [
        event["frames"] for event in events(measured.root, exported["job_id"]) if event["event"] == "block_done"
    ]
    assert sum(done_so_far) == N


def test_the_same_export_is_the_same_file(measured: Workspace) -> None:
    options = ExportOptions(format="yolo", split={"train": 0.5, "val": 0.5}, seed=3)
    files = [tasks.exported_file(measured.root, done(measured, options)["job_id"]).read_bytes() for _ in range(2)]
    assert files[0] == files[1]


def test_a_release_whose_process_died_after_making_it_is_made_once(measured: Workspace) -> None:
    job = claimed(measured, ReleaseOptions(name="died", note="by night"))
    assert tasks.run(measured, job) == {"name": "died"}
    # The second attempt of a gateway that never saw the first one's end.
    log = JobLog(measured.root, job.job_id)
    for path in sorted(log.folder.files())[-1:]:
        if path.endswith(".json"):
            (log.folder / path).delete()
    rows = Store(measured.root).read(schemas.RELEASES).to_pylist()
    assert [row["note"] for row in rows if row["name"] == "died"] == [f"by night; made by job {job.job_id}"]


def test_what_cannot_be_done_fails_with_its_reason(measured: Workspace) -> None:
    job = claimed(measured, ExportOptions(format="coco", where="no_such_column > 3"))
    with pytest.raises(UserError, match="no_such_column"):
        tasks.run(measured, job)
    [failed] = [found for found in JobQueue(measured.root).jobs() if found.job_id == job.job_id]
    assert failed.state.state == "failed"
    assert "no_such_column" in str(failed.state.error)
    assert events(measured.root, job.job_id)[-1]["event"] == "run_failed"
    assert not tasks.exported_file(measured.root, job.job_id).exists()


def test_an_export_that_was_cancelled_leaves_nothing(measured: Workspace) -> None:
    job = claimed(measured, ExportOptions(format="coco"))
    JobLog(measured.root, job.job_id).add("cancel")
    assert tasks.run(measured, job) == {}
    [over] = [found for found in JobQueue(measured.root).jobs() if found.job_id == job.job_id]
    assert over.state.state == "cancelled"
    assert not tasks.exported_file(measured.root, job.job_id).exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (ReleaseOptions(name="a/b"), "release name 'a/b'"),
        (SelectOptions(name="x"), "n and fraction: expected one of them"),
        (ExportOptions(format="coco", split={"train": 0.5}), "add up to 1, found 0.5"),
        (ExportOptions(format="coco", block="soon"), "block"),
        (ExportOptions(format="coco", split={"../../outside": 1.0}), "names of letters"),
    ],
)
def test_options_that_cannot_be_right_are_refused_before_they_are_queued(
    measured: Workspace, options: TaskOptions, says: str
) -> None:
    before = len(JobQueue(measured.root).jobs())
    with pytest.raises(UserError, match=says):
        tasks.submit(measured, options)
    assert len(JobQueue(measured.root).jobs()) == before


def test_options_are_read_back_as_they_were_written() -> None:
    options = ExportOptions(format="coco", split={"train": 0.8, "val": 0.2}, classes=("car",), renamed={"truck": "car"})
    assert parse("export", json.loads(json.dumps(options.model_dump(mode="json")))) == options
    with pytest.raises(UserError, match="another version"):
        parse("bake", {})
    with pytest.raises(UserError, match="export: format"):
        parse("export", {"format": "of tomorrow"})
    with pytest.raises(ValidationError):
        ExportOptions.model_validate({"format": "coco", "out": "/etc"})


def test_packing_keeps_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "images" / "ü {a}").mkdir(parents=True)
    (folder / "images" / "ü {a}" / "1.bin").write_bytes(bytes(range(256)) * 9)
    (folder / "empty.txt").write_bytes(b"")
    tasks.pack(folder, tmp_path / "set.zip")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "set.zip").read_bytes())) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            "empty.txt": b"",
            "images/ü {a}/1.bin": bytes(range(256)) * 9,
        }
