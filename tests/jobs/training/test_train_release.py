"""Trainings on a release: what is learnt, what is sealed, and the same weights after any interruption."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import schemas
from jobs.core.errors import JobStateError, NotPromotedError
from jobs.dispatch import job_control, tasks
from jobs.dispatch.execute_job import execute
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.submit import submit
from jobs.dispatch.task_options import ReleaseOptions
from jobs.models import registry
from jobs.records.run_events import SilentListener
from jobs.runs.run import run
from jobs.runs.run_options import RunOptions
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.options import TrainOptions
from tests.helpers import go, problems, rows, said, winnow, write_pictures
from tests.training_material import SPLIT, epochs_of, labelled_workspace, picture, registered
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process]

SMALL: dict[str, Any] = {
    "release": "v1",
    "model": "torchvision:fasterrcnn-tiny",
    "size": 96,
    "batch": 4,
    "epochs": 3,
    "threads": 1,
    "augment": "standard",
    "onnx": False,
    "split": SPLIT,
    "split_by": "group",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with 75 labelled images and a release."""
    return labelled_workspace(tmp_path_factory.mktemp("trained"), 75)


@pytest.fixture(scope="module")
def undisturbed(workspace: Workspace) -> dict[str, Any]:
    """Return the result of a training that nothing interrupts."""
    return _train(workspace, name="undisturbed")


def _train(workspace: Workspace, **more: Any) -> dict[str, Any]:
    job_id = tasks.submit(workspace, TrainOptions(**SMALL | more))
    return tasks.run_here(workspace, job_id, SilentListener()) | {"job_id": job_id}


def test_a_small_detector_learns_two_classes(workspace: Workspace) -> None:
    """From nothing, on some 48 images: AP50 of 0.9 or better on images that it has not seen."""
    # Steps of two images: with four, these epochs have too few steps to learn it by.
    found = _train(workspace, name="shapes", epochs=16, batch=2, size=160, augment="minimal", onnx=True)
    assert found["AP50"] >= 0.9, epochs_of(workspace, found["job_id"])
    refused = winnow("models", "promote", "shapes@1", "-w", workspace.root)
    assert isinstance(refused.exception, NotPromotedError)
    assert any("was never measured" in line for line in refused.exception.problems)
    on = ("--on", "release:v1/test", "--threads", "1")
    measured = said(winnow("evaluate", "model", "shapes@1", *on, "-w", workspace.root, "--json"))
    assert measured["AP50"] > 0.7
    promoted = said(winnow("models", "promote", "shapes@1", "-w", workspace.root, "--json"))
    assert (promoted["evaluation_id"], promoted["is_forced"]) == (measured["evaluation_id"], False)
    before = rows(workspace, schemas.ANNOTATED).height
    stream = workspace.folder.parent / "shapes"
    go(workspace, stream, settings=["stages=[annotate]", "annotate.weights=models:shapes@champion"])
    found_there = rows(workspace, schemas.ANNOTATIONS)
    annotated = found_there.filter(found_there["source"] == "torchvision")
    assert before == 0
    assert set(annotated["weights_hash"]) == {found["model_id"]}
    assert set(annotated["category"]) == {"disc", "square"}
    planted = sum(len(picture(seed)[1]) for seed in range(75))
    sure = annotated.filter(annotated["score"] > 0.5).height
    assert 0.8 * planted < sure < 1.6 * planted


def test_the_test_split_is_never_in_the_folder_of_a_training(workspace: Workspace, undisturbed: dict[str, Any]) -> None:
    """By content: images of the split test are counted, and their bytes are nowhere below the folder."""
    given = Store(workspace.root).read(schemas.SPLITS).to_pylist()
    sealed = {row["frame_idx"] for row in given if row["split"] == "test"}
    assert len(sealed) > 5
    stream = workspace.folder.parent / "shapes"
    hidden = {(stream / f"image_{number}.png").read_bytes() for number in sealed}
    folder = workspace.folder / "training" / undisturbed["job_id"]
    copied = [path.read_bytes() for path in folder.rglob("*.png")]
    assert len(copied) == undisturbed["frames"]
    assert not hidden.intersection(copied)


def test_a_training_that_is_killed_has_the_weights_of_one_that_is_not(
    workspace: Workspace, undisturbed: dict[str, Any]
) -> None:
    """Killed in several epochs and paused within one: bit-equal weights, one row per epoch, one version."""
    job_id = tasks.submit(workspace, TrainOptions(**SMALL, name="killed"))
    log = workspace.folder / "jobs" / job_id
    for word in ("train_step", "train_epoch"):
        with _process(workspace, job_id) as running:
            _wait_for(log, word, running)
            running.kill()
    with _process(workspace, job_id) as running:
        _wait_for(log, "train_step", running)
        running.send_signal(signal.SIGINT)
        assert running.wait() in {0, 4}
    with _process(workspace, job_id) as running:
        output, _ = running.communicate()
        assert running.returncode == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["model_id"] == undisturbed["model_id"]
    assert epochs_of(workspace, job_id, "AP") == epochs_of(workspace, undisturbed["job_id"], "AP")
    assert [epoch for epoch, _ in epochs_of(workspace, job_id, "loss")] == [1, 2, 3]
    assert [row["job_id"] for row in registry.versions(Store(workspace.root), "killed")] == [job_id]


def _process(workspace: Workspace, job_id: str) -> "subprocess.Popen[str]":
    words = ["train", "--resume", job_id, "--workspace", str(workspace.root), "--json"]
    command = [sys.executable, "-P", "-m", "winnow", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def _events(folder: Path, word: str) -> int:
    return sum(path.read_text().count(f'"event": "{word}"') for path in folder.glob("journal-*.jsonl"))


def _wait_for(folder: Path, word: str, process: "subprocess.Popen[str]") -> None:
    """Wait until a process has written one more such event than there were."""
    before = _events(folder, word)
    wait_until(lambda: _events(folder, word) > before, f"{word} did not come", process=process)


def test_a_running_job_keeps_the_champion_that_it_began_with(tmp_path: Path) -> None:
    """The name is resolved once: a job that is resumed after a promotion finds with the weights of its start."""
    workspace = Workspace.at(tmp_path / "ws").create()
    store = Store(workspace.root)
    stream = write_pictures(tmp_path / "cam", [picture(seed)[0] for seed in range(3)])
    older, newer = (registered(workspace, "yard", seed) for seed in (1, 2))
    registry.set_alias(store, "yard", 1, "champion", by="ann")
    settings = ["stages=[annotate]", "annotate.weights=models:yard@champion", "annotate.min_score=0.01"]
    job_id = submit(workspace.root, RunOptions(inputs=[str(stream)], settings=settings, pause_after="curation"))
    assert _executed(workspace, job_id) == "paused"
    registry.set_alias(store, "yard", 2, "champion", by="bob")
    job_control.resume(workspace, job_id)
    assert _executed(workspace, job_id) == "done"
    assert set(rows(workspace, schemas.ANNOTATIONS)["weights_hash"]) == {older.model_id}
    go(workspace, stream, settings=settings)
    assert set(rows(workspace, schemas.ANNOTATIONS)["weights_hash"]) == {newer.model_id}


def _executed(workspace: Workspace, job_id: str) -> str:
    """Run a job of the queue as a gateway does, and return its state."""
    queue = JobQueue(workspace.root)
    (job,) = (job for job in queue.jobs() if job.job_id == job_id)
    assert queue.claim(job)
    record = execute(
        workspace, job_id, lambda request, name, release: run(request, job_id=name, claimed=True, release=release)
    )
    assert record is not None
    return record.state


def test_the_preflight_counts_and_records_nothing(workspace: Workspace, undisturbed: dict[str, Any]) -> None:
    """Known sizes: an object of 24 to 55 px of 160 is 14.4 to 33 px at 96; few objects in val are named."""
    before = Store(workspace.root).read(schemas.SPLITS).num_rows
    words = ("--release", "v1", "--name", "x", "--size", "96", "--split", "train=0.64,val=0.2,test=0.16")
    found = said(winnow("train", *words, "--split-by", "group", "--dry-run", "--json", "-w", workspace.root))
    assert Store(workspace.root).read(schemas.SPLITS).num_rows == before
    images = found["images"]
    assert images["train"] + images["val"] == undisturbed["frames"]
    assert sum(images.values()) == rows(workspace, schemas.CURATION)["keep"].sum()
    for name in ("disc", "square"):
        low, _, high = found["classes"][name]["short_side_px"]
        assert 14.3 <= low <= high <= 33.7
        n = found["classes"][name]["val"]["objects"]
        assert found["classes"][name]["interval"] == round(1.96 * (0.25 / n) ** 0.5, 3)
        assert any(line.startswith(f"{name}: {n} objects in val") for line in found["warnings"])


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"model": "torchvision:fasterrcnn"}, "expected torchvision:NAME"),
        ({"release": "v9"}, "v9"),
        ({"name": "a@b"}, "expected a name without @"),
        ({"split": {"train": 0.5, "test": 0.5}}, "expected train, val"),
        ({"where": "frame_idx < 0"}, "no frame fits"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(
    workspace: Workspace, more: dict[str, Any], problem: str
) -> None:
    """One line each, and no version."""
    options = {"name": "refused", **more}
    words = [_word(key.replace("_", "-"), value) for key, value in (SMALL | options).items()]
    result = winnow("train", *words, "-w", workspace.root)
    assert result.exit_code in {1, 2}
    assert any(problem in line for line in problems(result)), problems(result)
    assert not [row for row in registry.versions(Store(workspace.root)) if row["name"] == "refused"]


def _word(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{key}" if value else f"--no-{key}"
    text = ",".join(f"{name}={share}" for name, share in value.items()) if isinstance(value, dict) else value
    return f"--{key}={text}"


def test_a_training_that_is_stopped_keeps_its_best_epoch(workspace: Workspace) -> None:
    """It is done, with a version, long before its last epoch; another job cannot be stopped."""
    job_id = tasks.submit(workspace, TrainOptions(**SMALL | {"name": "stopped", "epochs": 500}))

    def stop() -> None:
        wait_until(lambda: _events(workspace.folder / "jobs" / job_id, "train_epoch") > 0)
        job_control.stop(workspace, job_id)

    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(stop)
        result = tasks.run_here(workspace, job_id, SilentListener())
        stopped.result()
    assert 1 <= result["best_epoch"] <= result["epochs"] < 500
    assert [row["job_id"] for row in registry.versions(Store(workspace.root), "stopped")] == [job_id]
    with pytest.raises(JobStateError, match="expected a training"):
        job_control.stop(workspace, tasks.submit(workspace, ReleaseOptions(name="later")))


def test_time_limits_end_a_training_with_what_it_has(workspace: Workspace) -> None:
    """After the first epoch the minutes are over: its weights are registered."""
    found = _train(workspace, name="short", epochs=500, minutes=0.001)
    assert found["epochs"] == 1
    assert found["best_epoch"] in {1, None}
