"""Pool of processes on this machine that map blocks within a second: while the engine starts, or instead of it.

Each process receives blocks through a pipe. It ends when the pipe is closed, or when its parent ends for any reason.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from tempfile import TemporaryFile
from threading import Thread
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa

from jobs.core.interpreter import python, python_environment
from jobs.core.memory import collect_rarely
from jobs.core.optional_packages import load_arrow_without_pandas

Transform = tuple[Callable[..., pa.Table], dict[str, Any]]
"""A function of one Arrow table, defined at the top of a module, and its keyword arguments."""

MAX_LOCAL_FRAMES = 1024
"""A model is shown so few frames without an engine, whose start is not worth the wait."""

_TICK_S = 0.5
_GRACE_S = 5.0
_PRELOADED = "jobs.passes.pixel_worker"


_PROGRAM = "from jobs.engine.local_pool import serve; serve({}, {})"
_READY = b"ready"
_NOTHING_YET = object()
_LAST_WORDS = 2000


class WorkerStartError(Exception):
    """No process could be started; the text is the last one that such a process printed."""


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    errors: IO[bytes]
    has_begun: bool = False

    def last_words(self) -> str:
        """Return the last line that the process printed, or how it ended."""
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - _LAST_WORDS))
        lines = [line.strip() for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with exit code {self.process.poll()}"


class LocalPool:
    """Up to `size` processes, started by `start` or when they are first needed; a context manager that ends them.

    With `replaces_dead`, another process takes the place of one that a block has ended, so that the others are done.
    """

    def __init__(self, size: int, replaces_dead: bool = False) -> None:
        self.size = size
        self._replaces_dead = replaces_dead
        self._workers: list[_Worker] = []
        self._has_begun = False
        self._last_words = ""

    def start(self) -> None:
        """Start the processes without waiting for them."""
        while len(self._workers) < self.size:
            self._workers.append(_start_worker())

    def map_blocks(
        self, blocks: Sequence[pa.Table], transforms: Sequence[Transform], go_on: Callable[[], bool] = lambda: True
    ) -> Generator[pa.Table | None, None, None]:
        """Apply the transforms to each block, in one process, and yield results as they arrive, in no order.

        No more blocks are begun once `go_on` returns False; results of those that were are yielded.

        Yields None about twice a second while there are none, so that the caller can do other things. Results of
        blocks whose process died, or whose transform raised, are missing. Closing the iterator kills busy processes.
        Raises `WorkerStartError` if all have ended before they could take a block.
        """
        self.start()
        waiting = list(reversed(blocks))
        idle, busy = [*self._workers], dict[Connection, _Worker]()
        try:
            while waiting or busy:
                if waiting and idle and not go_on():
                    waiting.clear()
                self._hand_out(waiting, transforms, idle, busy)
                if not busy:
                    # All have died; the remaining blocks are left to the caller.
                    break
                ready = wait(list(busy), _TICK_S)
                if not ready:
                    yield None
                for pipe in ready:
                    assert isinstance(pipe, Connection)
                    result = self._received(busy[pipe])
                    if result is _NOTHING_YET:
                        continue
                    idle += self._free_again(busy.pop(pipe))
                    if result is not None:
                        yield result
            self._require_begun()
        finally:
            for worker in busy.values():
                worker.process.kill()
                self._discard(worker)

    def _hand_out(
        self,
        waiting: list[pa.Table],
        transforms: Sequence[Transform],
        idle: list[_Worker],
        busy: dict[Connection, _Worker],
    ) -> None:
        """Send the last waiting block to each idle process."""
        while waiting and idle:
            worker = idle.pop()
            if _send(worker, (waiting[-1], list(transforms))):
                busy[worker.pipe] = worker
                waiting.pop()
            else:
                self._discard(worker)

    def _free_again(self, worker: _Worker) -> list[_Worker]:
        """Return the process if it is alive, or the one that takes its place, if one does."""
        if worker not in self._workers:
            if not (self._replaces_dead and worker.has_begun):
                return []
            worker = _start_worker()
            self._workers.append(worker)
        return [worker]

    def _received(self, worker: _Worker) -> Any:
        """Return what a process has sent: a block, None for one that failed, or that it has begun. Dead ones go."""
        try:
            result = worker.pipe.recv()
        except (EOFError, OSError):
            self._discard(worker)
            return None
        if isinstance(result, bytes):
            worker.has_begun = self._has_begun = True
            return _NOTHING_YET
        return result

    def _require_begun(self) -> None:
        """Raise `WorkerStartError` if processes have ended, and none before that could take a block."""
        if self._last_words and not self._has_begun:
            raise WorkerStartError(self._last_words)

    def close(self) -> None:
        """End the processes, which must be idle."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            _stop(worker)
            worker.errors.close()
        self._workers.clear()

    def _discard(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _stop(worker)
        self._last_words = worker.last_words()
        worker.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start_worker() -> _Worker:
    ours, theirs = Pipe()
    errors = TemporaryFile()  # noqa: SIM115 - it lasts as long as the process
    process = subprocess.Popen(  # noqa: S603 - it is our own interpreter
        python("-c", _PROGRAM.format(theirs.fileno(), os.getpid())),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=[theirs.fileno()],
        env=python_environment(),
        # An interrupt of the terminal goes to the parent only, which decides what is still to be done.
        start_new_session=True,
    )
    theirs.close()
    return _Worker(process, ours, errors)


def _send(worker: _Worker, work: tuple[pa.Table, list[Transform]]) -> bool:
    try:
        worker.pipe.send(work)
    except OSError:
        return False
    return True


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    try:
        worker.process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.wait()


def serve(handle: int, parent: int) -> None:
    """Map the blocks that come through a pipe until it is closed or the parent ends: a process of `LocalPool`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collect_rarely()
    # A model may take minutes for a block, and the pipe is read only between two blocks.
    Thread(target=_exit_with, args=(parent,), name="parent", daemon=True).start()
    pipe = Connection(handle)
    load_arrow_without_pandas()
    importlib.import_module(_PRELOADED)
    # Decoders print warnings about damaged images there, which the tables report better; errors are not printed either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(OSError):
        pipe.send(_READY)
    while True:
        try:
            block, transforms = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            for function, arguments in transforms:
                block = function(block, **arguments)
        except Exception:
            # As with the engine: the caller retries a block without a result, and finds out why it fails.
            block = None
        try:
            pipe.send(block)
        except OSError:
            return


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_TICK_S)
    os._exit(1)
