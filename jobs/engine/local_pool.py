"""Pool of processes on this machine that map blocks within a second: while the engine starts, or instead of it.

Each process receives blocks through a pipe. It ends when the pipe is closed, or when its parent ends for any reason.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from importlib.abc import MetaPathFinder
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from threading import Thread
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

import pyarrow as pa

Transform = tuple[Callable[..., pa.Table], dict[str, Any]]
"""A function of one Arrow table, defined at the top of a module, and its keyword arguments."""

MAX_LOCAL_FRAMES = 1024
"""A pass of at most so many frames runs without an engine: they are measured before one would have started, and for
so few frames of a model stage it is not worth the wait."""

_TICK_S = 0.5
_GRACE_S = 5.0
_PRELOADED = "jobs.passes.pixel_worker"


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    pipe: Connection


class LocalPool:
    """Up to `size` processes, started by `start` or when they are first needed; a context manager that ends them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Start the processes without waiting for them."""
        while len(self._workers) < self.size:
            self._workers.append(_start_worker())

    def map_blocks(
        self, blocks: Sequence[pa.Table], transforms: Sequence[Transform]
    ) -> Generator[pa.Table | None, None, None]:
        """Apply the transforms to each block, in one process, and yield results as they arrive, in no order.

        Yields None about twice a second while there are none, so that the caller can do other things. Results of
        blocks whose process died, or whose transform raised, are missing. Closing the iterator kills busy processes.
        """
        self.start()
        waiting = list(reversed(blocks))
        idle, busy = [*self._workers], dict[Connection, _Worker]()
        try:
            while waiting or busy:
                while waiting and idle:
                    worker = idle.pop()
                    if _send(worker, (waiting[-1], list(transforms))):
                        busy[worker.pipe] = worker
                        waiting.pop()
                    else:
                        self._discard(worker)
                if not busy:
                    # All have died; the remaining blocks are left to the caller.
                    return
                ready = wait(list(busy), _TICK_S)
                if not ready:
                    yield None
                for pipe in ready:
                    assert isinstance(pipe, Connection)
                    worker = busy.pop(pipe)
                    try:
                        result = pipe.recv()
                    except (EOFError, OSError):
                        self._discard(worker)
                        continue
                    idle.append(worker)
                    if result is not None:
                        yield result
        finally:
            for worker in busy.values():
                worker.process.kill()
                self._discard(worker)

    def close(self) -> None:
        """End the processes, which must be idle."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            _stop(worker)
        self._workers.clear()

    def _discard(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _stop(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start_worker() -> _Worker:
    ours, theirs = Pipe()
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    process = subprocess.Popen(  # noqa: S603 - it is our own interpreter
        [sys.executable, "-c", f"from jobs.engine.local_pool import serve; serve({theirs.fileno()}, {os.getpid()})"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": path},
        # An interrupt of the terminal goes to the parent only, which decides what is still to be done.
        start_new_session=True,
    )
    theirs.close()
    return _Worker(process, ours)


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
    # A model may take minutes for a block, and the pipe is read only between two blocks.
    Thread(target=_exit_with, args=(parent,), name="parent", daemon=True).start()
    pipe = Connection(handle)
    _leave_pandas_out()
    importlib.import_module(_PRELOADED)
    # Decoders print warnings about damaged images there, which the tables report better; errors are not printed either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
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


class _NoPandas(MetaPathFinder):
    """An import hook that reports pandas as not installed."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        """Leave every other module to the other finders."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def _leave_pandas_out() -> None:
    """Have PyArrow do without pandas, which it imports at its first array if it can, and which no block needs.

    Measured (2 cores, median of 9 starts each way, in turn): a process is ready after 0.61 s of processor time instead
    of 0.98 s, and takes 34 MB less memory. A later import of pandas still works.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_TICK_S)
    os._exit(1)
