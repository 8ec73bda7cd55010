"""Runs on a cluster that is there already, of two nodes on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import schemas
from jobs.engine.ray_engine import Engine
from jobs.records.journal import events
from jobs.storage import paths
from jobs.storage.workspace import Workspace
from tests.helpers import assert_one_live_row, assert_same_tables, go, noise, rows, write_noise_stream, write_pictures
from tests.machines import UNCOMPILED, Machines, without_ray
from tests.marks import MACHINES
from tests.onnx_graphs import write_end_to_end
from tests.processes import n_rows
from tests.reference import ROOT
from tests.waiting import ended, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group(MACHINES)]

N = 240
SMALL_BLOCKS = ("unit_frames=4", "resources.block_frames=4", "resources.commit_seconds=0.1")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_stream(tmp_path_factory.mktemp("frames") / "cam", [*range(N - 40), *range(40)])


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Workspace:
    """The frames measured by processes of this machine."""
    workspace = Workspace.at(tmp_path_factory.mktemp("expected") / "tables")
    go(workspace, frames)
    return workspace


def start(
    place: Path,
    frames: Path,
    machines: Machines,
    program: Path = ROOT,
    settings: Sequence[str] = (),
    **environment: str,
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.cli", "run", "--json", "--input", str(frames), "--workspace", str(place)]
    command += [part for setting in (*SMALL_BLOCKS, *settings) for part in ("--set", setting)]
    environment = {**without_ray(), "PYTHONPATH": str(program), "RAY_ADDRESS": machines.address, **environment}
    if program != ROOT:
        environment |= UNCOMPILED
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=place.parent
    )


def changed_program(folder: Path, module: str, old: str, new: str) -> Path:
    """Copy the program, with something else in a module of its passes."""
    program = folder / "program"
    for room in ("conf", "jobs", "schemas", "transforms"):
        shutil.copytree(ROOT / room, program / room, ignore=shutil.ignore_patterns("__pycache__"))
    path = program / "jobs" / "passes" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return program


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    code, out, err = ended(process)
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def machines_of(place: Path, job_id: str, stage: str = "measure") -> set[str]:
    """Return what did the blocks of a stage."""
    found: dict[str, set[str]] = {}
    at = ""
    for event in events(paths.place(place), job_id):
        at = event["stage"] if event["event"] == "stage_started" else at
        if event["event"] == "block_done":
            found.setdefault(at, set()).add(event["data"]["machine"])
    return found.get(stage, set())


def test_two_machines_without_the_program_give_the_rows_of_one(
    machines: Machines, frames: Path, expected: Workspace, tmp_path: Path
) -> None:
    program = changed_program(tmp_path, "pixel_worker.py", "socket.gethostname()", "'taken along'")
    place = tmp_path / "tables"
    record = finished(start(place, frames, machines, program))
    assert record["stages"]["frames"]["computed"] == N
    first, second = machines_of(place, record["job_id"])
    assert {name.partition(":")[0] for name in (first, second)} == {"taken along"}
    assert_same_tables(Workspace.at(place), expected)


def test_no_row_is_lost_when_a_machine_dies(
    machines: Machines, frames: Path, expected: Workspace, tmp_path: Path
) -> None:
    place = tmp_path / "tables"
    process = start(place, frames, machines)
    wait_until(lambda: n_rows(place) or process.poll() is not None)
    machines.kill_one()
    committed = n_rows(place)
    record = finished(process)
    machines.add_one()
    assert 0 < committed < N
    assert record["stages"]["frames"]["quarantined"] == 0
    workspace = Workspace.at(place)
    assert rows(workspace, schemas.FRAMES).height == N
    assert_one_live_row(workspace)
    assert_same_tables(workspace, expected)


@pytest.mark.parametrize("detector", ["motion", "onnx"])
def test_a_model_on_two_machines_gives_the_results_of_one(
    detector: str, machines: Machines, tmp_path: Path, engine: Engine
) -> None:
    chosen = ["stages=[annotate]", f"annotate.detector={detector}", "annotate.frames=all", "resources.model_batch=2"]
    if detector == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
        weights = write_end_to_end(tmp_path / "red.onnx", "N", {0: "cat", 1: "red"}, "AGPL-3.0")
        chosen.append(f"annotate.weights={weights}")
    # What moves is computed from the frames before, so that a machine is given all of a sequence without a gap.
    cams = tmp_path / "cams"
    for first in range(0, 48, 6):
        write_pictures(cams / f"cam{first}", [crossed(first + number) for number in range(10)])
    one = Workspace.at(tmp_path / "one")
    go(one, cams, settings=chosen)
    assert rows(one, schemas.ANNOTATIONS).height >= 35
    # Nobody begins before both are there, or one might have done it all.
    (tmp_path / "met").mkdir()
    meeting = f"""made = task.make(threads)
        import os, pathlib
        met = pathlib.Path({str(tmp_path / "met")!r})
        (met / str(os.getpid())).touch()
        while len(list(met.iterdir())) < 2:
            time.sleep(0.01)"""
    program = changed_program(tmp_path, "model_worker.py", "made = task.make(threads)", meeting)
    record = finished(start(tmp_path / "two", cams, machines, program, [*chosen, "resources.model_frames=4"]))
    assert record["stages"]["annotate"]["computed"] == 80
    assert_same_tables(Workspace.at(tmp_path / "two"), one)
    assert len(machines_of(tmp_path / "two", record["job_id"], "annotate")) == 2


def crossed(number: int) -> npt.NDArray[np.uint8]:
    """A still wall, and a red box that crosses it."""
    frame = np.repeat(noise(0, 128, 256)[:, :, None] // 2, 3, axis=2)
    frame[16:48, 4 * number : 4 * number + 40] = (0, 0, 255)
    return frame
