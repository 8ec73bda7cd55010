"""Runs in a bucket that are spread over machines, or held up in their middle: the rows of one on disk, each once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest

from jobs.records.job_log import JobLog, jobs_of
from jobs.records.journal import events
from jobs.storage.paths import Place
from jobs.storage.workspace import Workspace
from tests import s3
from tests.helpers import assert_one_live_row, assert_same_tables, go, scenery, winnow, write_pictures
from tests.machines import Machines, without_ray
from tests.marks import MACHINES
from tests.waiting import PATIENCE_S, ended, wait_until
from transforms.io import object_store

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group(MACHINES)]

PLACE = ("uri", "mtime_ns", "stat_id")
SECRET = "not-to-be-seen-by-anybody-7f3a"
N = 48
STAGES = ("stages=[quality, annotate]", "annotate.detector=motion", "annotate.frames=all")
SMALL_BLOCKS = ("unit_frames=4", "resources.block_frames=4", "resources.commit_seconds=0.1", "resources.model_frames=4")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("frames") / "cam", scenery(N))


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Workspace:
    workspace = Workspace.at(tmp_path_factory.mktemp("reference") / "tables")
    go(workspace, frames, settings=STAGES)
    return workspace


def start(place: Place, source: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.cli", "run", "--json", "--input", source, "--workspace", str(place)]
    command += [*options, *(part for setting in (*STAGES, *SMALL_BLOCKS) for part in ("--set", setting))]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without_ray() | environment
    )


def test_machines_without_keys_use_those_of_the_run_and_no_other_process_reads_them(
    bucket: str, machines: Machines, frames: Path, on_disk: Workspace
) -> None:
    root = Workspace.at(f"{bucket}/tables").root
    source = s3.upload(frames, f"{bucket}/cam")
    code, out, err = ended(start(root, source, "--ray-address", machines.address, AWS_SECRET_ACCESS_KEY=SECRET))
    assert code == 0, err
    record = json.loads(out.splitlines()[-1])
    assert record["stages"]["annotate"]["computed"] == record["stages"]["frames"]["computed"] == N
    assert_same_tables(Workspace.at(root), on_disk, PLACE)
    done = [event for event in events(root, record["job_id"]) if event["event"] == "block_done"]
    assert len({event["data"]["machine"] for event in done}) == 2
    logged = [path for path in machines.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name.startswith("worker-") for path in logged)
    assert [path for path in logged if SECRET.encode() in path.read_bytes()] == []
    assert [
        entry.uri for entry in object_store.listing(bucket) if SECRET.encode() in object_store.get(entry.uri).data
    ] == []
    assert SECRET not in out + err


class HeldStore(NamedTuple):
    """A store from which frames come slowly, and those of the second half only once `release` is set."""

    store: s3.Flaky
    release: Event


@pytest.fixture
def held_store(s3_server: str) -> Iterator[HeldStore]:
    """A store that gives a run a middle, however long it takes until something is done to it there."""
    release = Event()

    def hold(path: str) -> None:
        found = re.search(r"/cam/image_(\d+)", path)
        if found and int(found[1]) >= N // 2:
            release.wait(PATIENCE_S)

    with s3.flaky(s3_server) as proxy:
        proxy.fault = lambda method, path, number: "wait" if "/cam/image_" in path else None
        proxy.hold = hold
        try:
            yield HeldStore(proxy, release)
        finally:
            release.set()


def test_a_run_paused_from_another_machine_resumes_without_computing_twice(
    bucket: str, held_store: HeldStore, frames: Path, on_disk: Workspace
) -> None:
    root = Workspace.at(f"{bucket}/tables").root
    source = s3.upload(frames, f"{bucket}/cam")
    process = start(root, source, "--set", "resources.num_cpus=1", AWS_ENDPOINT_URL=held_store.store.address)
    job_id = measuring(root, process)
    assert winnow("job", "pause", job_id, "-w", root).exception is None
    held_store.release.set()
    code, _, err = ended(process)
    assert code == 4, err
    # It did not even ask for all of the frames.
    assert len({path for _, _, path in held_store.store.faults}) < N
    before = measured(root, job_id)
    assert 0 < before < N
    command = [sys.executable, "-m", "jobs.cli", "job", "resume", job_id, "--json", "--workspace", str(root)]
    resumed = subprocess.run(
        command, env=without_ray(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout.splitlines()[-1])["stages"]["frames"]["computed"] == N
    assert measured(root, job_id) == N
    there = Workspace.at(root)
    assert_one_live_row(there)
    assert_same_tables(there, on_disk, PLACE)


def test_a_run_cancelled_from_another_machine_leaves_rows_for_the_next_one(
    bucket: str, held_store: HeldStore, frames: Path, on_disk: Workspace
) -> None:
    root = Workspace.at(f"{bucket}/tables").root
    source = s3.upload(frames, f"{bucket}/cam")
    process = start(root, source, "--set", "resources.num_cpus=1", AWS_ENDPOINT_URL=held_store.store.address)
    job_id = measuring(root, process)
    assert winnow("job", "cancel", job_id, "-w", root).exception is None
    held_store.release.set()
    code, _, err = ended(process)
    assert code == 5, err
    state = JobLog(root, job_id).state()
    assert state is not None
    assert state.state == "cancelled"
    before = measured(root, job_id)
    assert 0 < before < N
    there = Workspace.at(root)
    record = go(there, source, settings=STAGES)
    assert record.outcomes["frames"].computed == N - before
    assert_same_tables(there, on_disk, PLACE)


def measuring(root: Place, process: subprocess.Popen[str]) -> str:
    """Return the id of the job of a run, as soon as its journal tells of a block."""

    def found() -> list[str]:
        return [job_id for job_id in jobs_of(root) if measured(root, job_id)]

    return wait_until(found, "no block was measured", every_s=0.1, process=process)[0]


def measured(root: Place, job_id: str) -> int:
    """Return how many frames were measured, by the journal, each as often as that was done."""
    n, stage = 0, None
    for event in events(root, job_id):
        if event["event"] == "stage_started":
            stage = event["stage"]
        if event["event"] == "block_done" and stage == "measure":
            n += event["frames"]
    return n
