"""Processes on this machine that map blocks within a second of being asked: while the engine still starts, or instead.

Each is a Python of its own that is handed blocks through a pipe. It ends when the pipe does, or whoever started it,
however that ended.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Self

import pyarrow as pa

from jobs.core.optional_packages import load_arrow_without_pandas

Transform = tuple[Callable[..., pa.Table], dict[str, Any]]
"""A function of one Arrow table, defined at the top of a module, and its keyword arguments."""

ALONE = 1024
"""A pass of no more frames needs no engine: so many are measured before one would have started, and of those that are
shown to a model, none is worth the wait for it."""

_TICK_S = 0.5
_GRACE_S = 5.0
_PRELOADED = "jobs.passes.pixel_worker"


class _Helper(NamedTuple):
    process: subprocess.Popen[bytes]
    pipe: Connection


class Nearby:
    """Up to `size` processes. They start when they are first needed, or at `begin`; use as a context manager."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._helpers: list[_Helper] = []

    def begin(self) -> None:
        """Start the processes, and do not wait for them."""
        while len(self._helpers) < self.size:
            self._helpers.append(_start())

    def map_blocks(
        self, blocks: Sequence[pa.Table], transforms: Sequence[Transform]
    ) -> Generator[pa.Table | None, None, None]:
        """Send each block through the transforms, in one process each, and yield results as they come, in no order.

        Yields None about twice a second while there are none, so that the caller can look after other things. Results
        of blocks whose process died, or whose transform raised, are missing. Closing the iterator ends the processes,
        if they are at work.
        """
        self.begin()
        waiting = list(reversed(blocks))
        idle, busy = [*self._helpers], dict[Connection, _Helper]()
        try:
            while waiting or busy:
                while waiting and idle:
                    helper = idle.pop()
                    if _hand_over(helper, (waiting[-1], list(transforms))):
                        busy[helper.pipe] = helper
                        waiting.pop()
                    else:
                        self._let_go(helper)
                if not busy:
                    # All of them have died; what is left is for somebody else.
                    return
                ready = wait(list(busy), _TICK_S)
                if not ready:
                    yield None
                for pipe in ready:
                    assert isinstance(pipe, Connection)
                    helper = busy.pop(pipe)
                    try:
                        result = pipe.recv()
                    except (EOFError, OSError):
                        self._let_go(helper)
                        continue
                    idle.append(helper)
                    if result is not None:
                        yield result
        finally:
            for helper in busy.values():
                helper.process.kill()
                self._let_go(helper)

    def close(self) -> None:
        """End the processes, which are not at work."""
        for helper in self._helpers:
            helper.pipe.close()
        for helper in self._helpers:
            _end(helper)
        self._helpers.clear()

    def _let_go(self, helper: _Helper) -> None:
        self._helpers.remove(helper)
        _end(helper)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start() -> _Helper:
    ours, theirs = Pipe()
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    process = subprocess.Popen(  # noqa: S603 - it is our own interpreter
        [sys.executable, "-c", f"from jobs.engine.local_pool import serve; serve({theirs.fileno()}, {os.getpid()})"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": path},
        # An interrupt of the terminal is for whoever started it, who decides what is still to be done.
        start_new_session=True,
    )
    theirs.close()
    return _Helper(process, ours)


def _hand_over(helper: _Helper, work: tuple[pa.Table, list[Transform]]) -> bool:
    try:
        helper.pipe.send(work)
    except OSError:
        return False
    return True


def _end(helper: _Helper) -> None:
    helper.pipe.close()
    try:
        helper.process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        helper.process.kill()
        helper.process.wait()


def serve(handle: int, parent: int) -> None:
    """Map the blocks that come through a pipe until it ends, or the parent does. What a process of `Nearby` does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A block may take a model minutes, and only between two is the pipe looked at.
    Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    pipe = Connection(handle)
    load_arrow_without_pandas()
    importlib.import_module(_PRELOADED)
    # Decoders chatter about damaged pictures there, of which the tables say more; what a block raises is not printed.
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
            # As with the engine: a block without a result is tried again, and found to be to blame there.
            block = None
        try:
            pipe.send(block)
        except OSError:
            return


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_TICK_S)
    os._exit(1)
