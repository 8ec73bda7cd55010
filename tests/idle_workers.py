"""Processes of the local pool that one run leaves to the next, in the tests' own process.

A run starts two of them, and each imports for more than half a second of processor time; hundreds of runs of a few
frames follow on one another here. Ray's workers are handed on in the same way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from jobs.engine import local_pool
from jobs.engine.local_pool import LocalPool

MOST = 3
"""As many idle processes are kept, each of some 150 MB."""

_OF_ONE_TEST = "PYTEST_CURRENT_TEST"

_start_worker, _start, _close = local_pool._start_worker, LocalPool.start, LocalPool.close


class IdleWorkers:
    """Processes that wait for their next run; each serves only where it would have been started alike."""

    def __init__(self) -> None:
        self._idle: list[tuple[object, local_pool._Worker]] = []

    def take(self) -> local_pool._Worker:
        """Return an idle process, or a new one."""
        here = _surroundings()
        for at, (there, worker) in enumerate(self._idle):
            if there == here:
                del self._idle[at]
                if worker.process.poll() is None:
                    # A test that would start a process has to say so, also where a process is left of another.
                    _check([sys.executable])
                    return worker
                return self.take()
        return _start_worker()

    def leave(self, worker: local_pool._Worker) -> None:
        """Keep a process that has nothing to do."""
        self._idle.append((_surroundings(), worker))
        while len(self._idle) > MOST:
            _end(self._idle.pop(0)[1])

    def end(self) -> None:
        """End those that are left."""
        while self._idle:
            _end(self._idle.pop()[1])


def _check(command: list[str]) -> None:
    # The plugin is registered first, and this module is imported before it.
    from tests.marks import GUARD

    GUARD.check(command)


def _surroundings() -> object:
    """Return what a process takes over from the one that starts it."""
    here = {name: value for name, value in os.environ.items() if name != _OF_ONE_TEST}
    return here, Path.cwd(), tuple(sys.path), local_pool._PROGRAM


def _end(worker: local_pool._Worker) -> None:
    local_pool._stop(worker)
    worker.errors.close()


@contextmanager
def lent() -> Iterator[None]:
    """Have pools that measure pixels leave their processes to the next one. What loaded a model is never handed on."""
    idle = IdleWorkers()

    def start(pool: LocalPool) -> None:
        _start(pool)
        pool._has_begun = pool._has_begun or any(worker.has_begun for worker in pool._workers)

    def close(pool: LocalPool) -> None:
        if pool._replaces_dead:
            for worker in pool._workers:
                idle.leave(worker)
            pool._workers.clear()
        _close(pool)

    try:
        with _patched(idle.take, start, close):
            yield
    finally:
        idle.end()


@contextmanager
def not_lent() -> Iterator[None]:
    """Have each pool start processes of its own, as it does everywhere else."""
    with _patched(_start_worker, _start, _close):
        yield


@contextmanager
def _patched(
    take: Callable[[], local_pool._Worker], start: Callable[[LocalPool], None], close: Callable[[LocalPool], None]
) -> Iterator[None]:
    with (
        mock.patch.object(local_pool, "_start_worker", take),
        mock.patch.object(LocalPool, "start", start),
        mock.patch.object(LocalPool, "close", close),
    ):
        yield
