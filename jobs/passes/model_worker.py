"""Worker of a model pass: a process that loads a model once and infers blocks of frames."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import pyarrow as pa

from jobs.passes.objects_seen import objects_seen
from jobs.passes.pixel_worker import not_taken, receipt, unless
from jobs.storage.data_files import write_part
from jobs.storage.paths import Place
from schemas import BY_NAME
from transforms.frames.image import ImageParams
from transforms.models.inference import (
    AnyModel,
    FrameModel,
    Inferred,
    StatefulModel,
    WindowedModel,
    WrongModelError,
    infer_batches,
    infer_stateful,
    infer_windowed,
)
from transforms.models.remote import InferenceServerError, RemoteModel, infer_remotely


@dataclass(frozen=True)
class ModelTask:
    """What a worker is to do: the model to `make`, the stage whose rows it gives, and where they go.

    `make` is given the number of threads that the model may use. `batch` frames are shown to it at once, each with the
    `context` frames before it, until the file `stop_flag` is there. `writes` is whose tables the rows are of, where
    that is another stage. `live` says whether a sample of what was found is reported.
    """

    make: Callable[[int], AnyModel | RemoteModel]
    stage: str
    stage_key: str
    root: Place
    image: ImageParams
    batch: int
    context: int = 0
    stop_flag: str = ""
    writes: str = ""
    live: bool = False


class ModelWorker:
    """Shows blocks of schema `REQUEST` to a model, writes its rows, a file per table, and returns receipts."""

    def __init__(self, task: ModelTask, threads: int) -> None:
        self._task = task
        self._threads = threads
        made = task.make(threads)
        self._model = made if isinstance(made, (WindowedModel, StatefulModel, RemoteModel)) else _Shared(made)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return one row of schema `worker.RECEIPT`."""
        started_ns = time.time_ns()
        task = self._task
        found, error = Inferred({}), None
        parts = []
        try:
            found = self._infer(block)
            parts = [
                write_part(task.root, BY_NAME[name], rows, {"stage_key": task.stage_key})
                for name, rows in found.rows.items()
                if rows.num_rows
            ]
        except (InferenceServerError, WrongModelError) as caught:
            error = str(caught)
        except Exception as caught:
            # Any other way out would look like the death of the process.
            error = not_taken(caught)
        tally = {
            "block": block["block"][0].as_py(),
            "n_frames": found.n_frames,
            "n_read": found.n_read,
            "n_decoded": found.n_decoded,
            "bytes_read": found.bytes_read,
            "started_ns": started_ns,
        }
        seen = objects_seen(found.rows) if task.live and error is None else None
        return receipt(tally, parts, found.faults, error, seen=seen)

    def _infer(self, block: pa.Table) -> Inferred:
        task = self._task
        go_on = unless(task.stop_flag) if task.stop_flag else None
        model = self._model
        if isinstance(model, RemoteModel):
            return infer_remotely(block, model, task.image, task.batch, self._threads, go_on)
        if isinstance(model, WindowedModel):
            return infer_windowed(block, model, (task.stage,), task.image, self._threads, go_on)
        if isinstance(model, StatefulModel):
            return infer_stateful(block, model, (task.stage,), task.image, self._threads, go_on)
        return infer_batches(block, model, (task.stage,), task.image, task.batch, self._threads, go_on)


def show_block(block: pa.Table, task: bytes, threads: int) -> pa.Table:
    """Show a block to the model of a pickled `ModelTask`, which this process then holds, as a `ModelWorker` does.

    Raises what keeps the model from being loaded, for every block.
    """
    held = _held(task, threads)
    if isinstance(held, Exception):
        raise held
    return held(block)


@lru_cache(maxsize=1)
def _held(task: bytes, threads: int) -> ModelWorker | Exception:
    try:
        return ModelWorker(pickle.loads(task), threads)  # noqa: S301 - it comes from the process that started this one
    except Exception as error:
        # Another try would take as long to fail.
        return error


class _Shared:
    """A model that several blocks share: while one is prepared, another is inferred."""

    def __init__(self, model: FrameModel) -> None:
        self._model = model
        self._turn = Lock()

    @property
    def short_side(self) -> int | None:
        return self._model.short_side

    @property
    def prepare(self) -> Callable[..., Any]:
        return self._model.prepare

    def infer(self, prepared: Any) -> Any:
        with self._turn:
            return self._model.infer(prepared)

    def rows(self, frames: pa.Table, results: Any) -> Mapping[str, pa.Table]:
        return self._model.rows(frames, results)
