"""Model passes: every frame is accounted for, also when the model kills its process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

import schemas
from conf import Resources
from jobs.core import devices
from jobs.core.errors import RunFailedError
from jobs.core.stage import Stage
from jobs.engine import lazy_engine
from jobs.engine.lazy_engine import LazyEngine
from jobs.engine.local_pool import MAX_LOCAL_FRAMES
from jobs.engine.ray_engine import Engine, ModelProcesses
from jobs.passes.intake import Intake, PassResult
from jobs.passes.model_pass import run_model_pass
from jobs.passes.model_worker import ModelTask
from jobs.records.job_claim import JobClaim
from jobs.records.journal import Journal, events
from jobs.records.run_events import RunReporter, SilentListener
from jobs.storage.committer import Committer
from jobs.storage.paths import place
from jobs.storage.store import Store
from tests.helpers import noise, write_pictures
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import Color, ImageParams
from transforms.models.embeddings import vector_column
from transforms.models.inference import REQUEST

N = 12
WHITE = 9


class Brightness:
    """A model of one number, which fails, or ends its process, over a white image where that is requested."""

    short_side = None

    def __init__(self, ends: bool, fails: bool, _threads: int) -> None:
        self._ends, self._fails = ends, fails

    def prepare(self, color: Color) -> float:
        return float(color.mean())

    def infer(self, prepared: Sequence[float]) -> Sequence[float]:
        if max(prepared) > 254 and self._ends:
            os._exit(1)
        if max(prepared) > 254 and self._fails:
            raise MemoryError("too bright to hold")
        return prepared

    def rows(self, frames: pa.Table, results: Sequence[float]) -> Mapping[str, pa.Table]:
        columns: dict[str, Any] = {name: frames[name] for name in ("stream_id", "frame_idx", "input_id")}
        columns["model"] = pa.repeat(pa.scalar("brightness"), frames.num_rows)
        columns["vector"] = vector_column(np.array(results, np.float32)[:, None])
        names = schemas.EMBEDDINGS.file_schema.names
        return {"embeddings": pa.table(columns).select(names).cast(schemas.EMBEDDINGS.file_schema)}


@pytest.fixture
def frames(tmp_path: Path) -> pa.Table:
    """A dozen frames, one of them white."""
    pictures = [noise(seed, 24, 32) for seed in range(N)]
    pictures[WHITE] = np.full((24, 32), 255, np.uint8)
    folder = write_pictures(tmp_path / "cam", pictures)
    rows = []
    with Clips() as clips:
        for number in range(N):
            uri = str(folder / f"image_{number}.png")
            content = open_frame(uri, None, ImageParams(), clips).content()
            row = {"block": 0, "stream_id": "cam", "frame_idx": number, "uri": uri, "input_id": content}
            rows.append(row | {"width": 32, "height": 24, "replaces": False, "wanted": True})
    return pa.Table.from_pylist(rows, REQUEST)


def nobody(_: int) -> None:
    """Say that there is no process but the engine's."""


def two(_: int) -> ModelProcesses:
    """Say that two processes of this machine can do it."""
    return ModelProcesses(2, 1, 0.0)


class NoEngine:
    """An engine of which nothing but its size may be requested."""

    def model_processes(self, _: Resources) -> ModelProcesses:
        return ModelProcesses(1, 1, 0.0)


def look(
    engine: Engine,
    frames: pa.Table,
    root: Path,
    ends: bool,
    fails: bool,
    local_models: Callable[[int], ModelProcesses | None] = nobody,
    make: Callable[[int], Any] | None = None,
) -> tuple[PassResult, pa.Table]:
    store = Store(place(root))
    store.create_tables()
    stage = Stage("embeddings", "model", schemas.EMBEDDINGS, (), {})
    committer = Committer(store, [stage], {"embeddings": store.open(schemas.EMBEDDINGS)}, "job", 0.1)
    task = ModelTask(
        make or partial(Brightness, ends, fails), "embeddings", stage.key, place(root), ImageParams(), batch=8
    )
    shape = engine.model_processes(Resources(num_cpus=2, models=1))
    claim = JobClaim.take(place(root), "job", SilentListener())
    journal = Journal.of(place(root), "job")
    on_block_done = RunReporter(SilentListener(), journal).measured
    intake = Intake(committer, on_block_done, claim)
    result = run_model_pass(iter([frames]), task, 2, lambda _: shape, lambda: engine, local_models, intake)
    journal.close()
    return result, store.open(schemas.EMBEDDINGS).read(None, stage.key).sort_by("frame_idx")


@pytest.mark.parametrize("local_models", [nobody, two])
def test_a_frame_that_ends_its_process_is_quarantined_alone(
    engine: Engine, frames: pa.Table, tmp_path: Path, local_models: Callable[[int], ModelProcesses | None]
) -> None:
    few = frames.slice(WHITE - 2, 4)
    result, written = look(engine, few, tmp_path / "tables", ends=True, fails=False, local_models=local_models)
    assert [(f["frame_idx"], f["error_type"]) for f in result.faults] == [(WHITE, "WorkerDied")]
    said = events(place(tmp_path / "tables"), "job")
    (event,) = [e for e in said if e["event"] == "frames_set_aside"]
    assert (event["first_idx"], event["last_idx"], event["frames"]) == (WHITE, WHITE, 1)
    assert event["error"].startswith("WorkerDied: ")
    assert sum(e["rows"] for e in said if e["event"] == "block_done") == 3
    assert written["frame_idx"].to_pylist() == [WHITE - 2, WHITE - 1, WHITE + 1]
    assert (result.n_frames, result.computed) == (4, {"embeddings": 3})


def test_a_frame_that_the_model_cannot_take_is_quarantined_alone(
    engine: Engine, frames: pa.Table, tmp_path: Path
) -> None:
    result, written = look(engine, frames, tmp_path / "tables", ends=False, fails=True)
    same, rows = look(cast("Engine", NoEngine()), frames, tmp_path / "local", ends=False, fails=True, local_models=two)
    assert rows.equals(written)
    assert (same.n_frames, same.computed, same.faults) == (result.n_frames, result.computed, result.faults)
    assert [(f["frame_idx"], f["error_type"], f["error"]) for f in result.faults] == [
        (WHITE, "MemoryError", "too bright to hold")
    ]
    assert written["frame_idx"].to_pylist() == [n for n in range(N) if n != WHITE]


def test_a_model_that_takes_nothing_ends_the_run(engine: Engine, frames: pa.Table, tmp_path: Path) -> None:
    n = 40
    white = frames.take(pa.array([WHITE] * n))
    white = white.set_column(2, "frame_idx", pa.array(range(n))).cast(REQUEST)
    with pytest.raises(RunFailedError, match="takes none of the first 40 frames: too bright to hold"):
        look(engine, white, tmp_path / "tables", ends=False, fails=True)
    with pytest.raises(RunFailedError, match="takes none of the first 40 frames: too bright to hold"):
        look(cast("Engine", NoEngine()), white, tmp_path / "local", ends=False, fails=True, local_models=two)


class Missing:
    """A model that cannot be loaded, and leaves a note of every time that it was tried."""

    def __init__(self, notes: Path, _threads: int) -> None:
        (notes / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        raise ValueError("no such weights")


def test_a_model_that_cannot_be_loaded_is_tried_once_by_every_process(
    engine: Engine, frames: pa.Table, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    make = partial(Missing, notes)
    with pytest.raises(RunFailedError, match=r"the model cannot be loaded: .*no such weights"):
        look(engine, frames, tmp_path / "tables", ends=False, fails=False, local_models=two, make=make)
    assert len(list(notes.iterdir())) <= 2 + 1


def test_few_frames_need_no_engine_unless_there_is_one_or_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Resources(num_cpus=2)
    monkeypatch.setattr(lazy_engine, "_is_running", lambda: False)
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path / "driver")
    with LazyEngine(limits) as demanded:
        assert demanded.local_models(MAX_LOCAL_FRAMES) == ModelProcesses(1, 2, 0.0)
        assert demanded.local_models(MAX_LOCAL_FRAMES + 1) is None
        (tmp_path / "driver").touch()
        assert demanded.local_models(1) is None
    with LazyEngine(limits, "127.0.0.1:6379") as joined:
        assert joined.local_models(1) is None
