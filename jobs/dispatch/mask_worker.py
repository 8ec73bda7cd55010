"""A process of its own that makes masks for points and boxes: started by the first request, ended when nobody asks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from threading import BoundedSemaphore, Lock
from typing import Any

from jobs.core.choices import MaskDevice
from jobs.core.devices import may_have_gpu
from jobs.core.errors import JobStateError, UserError
from jobs.core.interpreter import python, python_environment
from jobs.models.transformers import in_folder
from transforms.models.click_masks import CLICK_KINDS

IDLE_S = 300.0
_MOST_WAITING = 8


@dataclass(frozen=True)
class MaskFrame:
    """A frame as its tables name it: its bytes, the content that was measured, and its level of white."""

    uri: str
    content_hash: str
    white_level: float | None


@dataclass(frozen=True)
class MaskRequest:
    """What a mask is wanted of: points (x, y in pixels) with labels (1 on the object, 0 not), a box x, y, w, h.

    Without a frame, only the model is loaded; without points and box, the image is encoded, so that the next request
    of it is quick.
    """

    frame: MaskFrame | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None


class MaskFrameError(UserError):
    """The frame cannot be read as it was measured."""


class MaskWorker:
    """Asks the process, one request after the other; safe for threads."""

    def __init__(self, weights: str, device: MaskDevice, is_busy: Callable[[], str | None], idle_s: float = IDLE_S):
        """Start nothing yet.

        `is_busy` names a job that runs, or None: where there may be a GPU, the process does not take it from one
        unless `device` is `cpu`, and ends once a job has begun.
        """
        self._weights = weights
        self._device = device
        self._is_busy = is_busy
        self._idle_s = idle_s
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()
        self._places = BoundedSemaphore(_MOST_WAITING)

    @property
    def is_running(self) -> bool:
        """Return whether there is a process now."""
        process = self._process
        return process is not None and process.poll() is None

    def ask(self, request: MaskRequest) -> dict[str, Any]:
        """Return what the process answers: `model`, `device`, `seconds`, and `rle` and `score` of a mask.

        Raises `UserError` where the model cannot be loaded, with the command that gets it; `MaskFrameError`; and
        `JobStateError` where a job has the GPU, or too many wait.
        """
        if not self._places.acquire(blocking=False):
            raise JobStateError("many masks are requested at once; ask for it again")
        try:
            with self._lock:
                self._check_gpu()
                found = self._answer(json.dumps(asdict(request)))
        finally:
            self._places.release()
        if "lines" not in found:
            return found
        raise (MaskFrameError if found["kind"] == "frame" else UserError)(found["lines"])

    def free(self) -> None:
        """Forget a process that has ended, and end one that would share a GPU with a job; to be called now and then."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            shares = self._device != "cpu" and may_have_gpu()
            if not self.is_running or (shares and self._is_busy() is not None):
                self._end()
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process, in the middle of a request too."""
        process = self._process
        if process is not None:
            process.kill()
        with self._lock:
            self._end()

    def _check_gpu(self) -> None:
        if self._device == "cpu" or not may_have_gpu():
            return
        if (job := self._is_busy()) is not None:
            self._end()
            raise JobStateError(
                f"job {job} runs, and masks would take the GPU from it; wait for its end, or start the server with "
                "--mask-device cpu"
            )

    def _answer(self, line: str) -> dict[str, Any]:
        # A process that ended between two requests, because nobody asked, is started once more.
        for _ in range(2):
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError:
                answer = ""
            if answer:
                found: dict[str, Any] = json.loads(answer)
                return found
            self._end()
        raise UserError("the process that makes masks ended without an answer; see the output of the server")

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            # Weights that are missing are reported at once, and no process is started for them.
            in_folder("--mask-weights", self._weights, CLICK_KINDS)
            hidden = {"CUDA_VISIBLE_DEVICES": ""} if self._device == "cpu" else {}
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                python("-m", "jobs.dispatch.mask_process", self._weights, str(self._idle_s)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**python_environment(), **hidden},
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    # What was not sent any more.
                    continue
