"""Frames that are like a text: the text encoder of the frames' own model, in a process that ends when nobody asks.

A server loads no model: it would take hundreds of megabytes for as long as it runs.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock, Timer
from typing import Any

import numpy as np
import polars as pl

import schemas
from conf import PipelineConfig
from conf.loader import to_dict
from jobs.core.errors import RunFailedError, UserError
from jobs.core.interpreter import python, python_environment
from jobs.runs.replay import of_job
from jobs.web.frame_columns import Array
from jobs.web.frame_vectors import are_there, model_of
from jobs.web.project_data import Shown
from jobs.web.similar_frames import kinds, nearest

_SECTION = "embed"
_IDLE_S = 300.0
_ADD = "run the streams with --add-stage embeddings"


class TextEncoders:
    """The process that encodes texts: one at a time, with the model that was used last."""

    def __init__(self, idle_s: float = _IDLE_S) -> None:
        self._lock = Lock()
        self._idle_s = idle_s
        self._process: subprocess.Popen[str] | None = None
        self._config = ""
        self._model = ""
        self._used_s = 0.0
        self._timer: Timer | None = None

    def encode(self, config: PipelineConfig, text: str) -> tuple[Array, str]:
        """Return the vector of a text, shape (D,), and the label of the model in rows of `embeddings`.

        Raises `UserError` where the model's weights or packages are missing, or the model has no text encoder, and
        `RunFailedError` where the process died.
        """
        with self._lock:
            # Only what says which model it is: other settings change nothing.
            wanted = json.dumps({_SECTION: to_dict(config)[_SECTION]}, sort_keys=True)
            if self._process is None or self._process.poll() is not None or self._config != wanted:
                self._end()
                self._start(wanted)
            answer = self._ask({"text": text})
            self._used_s = time.monotonic()
            self._watch()
            return np.array(answer["vector"], np.float32), self._model

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Return the process, None where none runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def _start(self, config: str) -> None:
        # What is not on this machine is fetched by the run of the stage, never by a request.
        environment = {**python_environment(), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            python("-m", "jobs.models.text_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            self._model = str(self._ask({"config": json.loads(config)})["model"])
            self._config = config
        except BaseException:
            self._end()
            raise

    def _ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{json.dumps(what)}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self._end()
            raise RunFailedError("the process that encodes texts has died; try again, or see whether memory is short")
        answer: dict[str, Any] = json.loads(line)
        if problems := answer.get("problems"):
            raise UserError(problems)
        return answer

    def _watch(self) -> None:
        """End the process after a while without requests."""
        if self._timer is None:
            self._timer = Timer(self._idle_s, self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        with self._lock:
            self._timer = None
            if time.monotonic() - self._used_s >= self._idle_s:
                self._end()
            elif self._process is not None:
                self._watch()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._process is None:
            return
        with suppress(OSError):
            self._process.kill()
        self._process.communicate()
        self._process = None


def similar_to_text(shown: Shown, encoders: TextEncoders, text: str, limit: int) -> dict[str, Any]:
    """Return the frames whose embeddings are nearest to a text, as the API has them.

    Raises `UserError` where no frame has an embedding, or these are of another model than the newest run has.
    """
    if not are_there(shown, "embedding"):
        raise UserError(f"no frame has an embedding, which a text could be compared with; {_ADD}")
    vector, model = encoders.encode(_config(shown), text)
    if model != model_of(shown):
        raise UserError(
            f"most frames were embedded by {model_of(shown)}, and the newest run by {model}; {_ADD}, so that all are "
            "of one model"
        )
    return {"by": "text", "kinds": kinds(shown), "frames": nearest(shown, vector, limit)}


def _config(shown: Shown) -> PipelineConfig:
    """Return the configuration of the run whose embeddings were made current last."""
    heads = pl.from_arrow(shown.store.read(schemas.HEADS, ("stage", "job_id", "moved_ns")))
    assert isinstance(heads, pl.DataFrame)
    mine = heads.filter(pl.col("stage") == schemas.EMBEDDINGS.written_by).sort("moved_ns")
    return of_job(shown.workspace, str(mine["job_id"][-1])).loaded.config
