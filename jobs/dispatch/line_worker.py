"""A process of its own that answers requests next to a server: started by the first one, ended when nobody asks.

Requests and answers are JSON, one per line of its input and output. An answer with `lines` is an error.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from threading import BoundedSemaphore, Lock
from typing import Any

from jobs.core.choices import MaskDevice
from jobs.core.devices import may_have_gpu
from jobs.core.errors import JobStateError, UserError
from jobs.core.interpreter import end_child, python, python_environment

IDLE_S = 300.0
_MOST_WAITING = 8


class LineWorker:
    """Asks the process, one request after the other; safe for threads."""

    def __init__(
        self,
        what: str,
        command: Sequence[str],
        device: MaskDevice,
        is_busy: Callable[[], str | None],
        check: Callable[[], object] = lambda: None,
        idle_s: float = IDLE_S,
    ) -> None:
        """Start nothing yet.

        `what` it makes, in the plural; `command`: its module and arguments, which `idle_s` follows: it ends after so
        many seconds without a request. `is_busy` names a job that runs, or None: where there may be a GPU, the process
        does not take it from one unless `device` is `cpu`, and ends once a job has begun. `check` raises `UserError`
        for what can be seen to be missing before the process is started.
        """
        self._what = what
        self._command = command
        self._device = device
        self._is_busy = is_busy
        self._check = check
        self._idle_s = idle_s
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()
        self._places = BoundedSemaphore(_MOST_WAITING)

    @property
    def is_running(self) -> bool:
        """Return whether there is a process now."""
        process = self._process
        return process is not None and process.poll() is None

    def send(self, request: Mapping[str, Any], alone: bool = False) -> dict[str, Any]:
        """Return what the process answers. With `alone`, a process that has done nothing else, and ends afterwards.

        Raises `JobStateError` where a job has the GPU, or too many wait, and `UserError` where there is no answer.
        """
        if not self._places.acquire(blocking=False):
            raise JobStateError(f"many {self._what} are requested at once; ask for it again")
        try:
            with self._lock:
                self._check_gpu()
                if alone:
                    self._end()
                try:
                    return self._answer(json.dumps(request))
                finally:
                    if alone:
                        self._end()
        finally:
            self._places.release()

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
                f"job {job} runs, and {self._what} would take the GPU from it; wait for its end, or start the server "
                "with --mask-device cpu"
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
        raise UserError(f"the process that makes {self._what} ended without an answer; see the output of the server")

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._check()
            hidden = {"CUDA_VISIBLE_DEVICES": ""} if self._device == "cpu" else {}
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                python("-m", *self._command, str(self._idle_s)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**python_environment(), **hidden},
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end_child(process)
