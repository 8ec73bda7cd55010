"""Lazily started engine: on first use, or in the background in advance."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from threading import Thread
from types import TracebackType
from typing import Any, Self

from conf import Resources
from jobs.core.devices import may_have_gpu
from jobs.core.errors import RunStopped
from jobs.engine.credential_forwarding import ForwardedCredentials
from jobs.engine.local_pool import MAX_LOCAL_FRAMES, LocalPool
from jobs.engine.ray_engine import Engine, ModelProcesses, named_cluster, share_out

_ANSWER_S = 5.0
_GRACE_S = 10.0
_LOOK_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def answer(object_store_mb: int) -> str:
    """Start an engine with one worker, or join the cluster of `$RAY_ADDRESS`, and return a line about it."""
    began = time.monotonic()
    with Engine(Resources(num_cpus=1, object_store_mb=object_store_mb)) as engine:
        engine.call_worker()
        joined = named_cluster(None)
        where = f"joined at {joined}" if joined else "started"
    return f"Ray {version('ray')} {where}, a worker answered after {time.monotonic() - began:.1f} s"


class LazyEngine:
    """An engine that is started on first use, or in the background once it is worth its start.

    On one machine, processes of `local_pool` start faster and measure as fast: they do all of a job that is soon done,
    and of a long one what comes before the engine has started. `local_pool` is None if an engine is already running.
    Use as a context manager; leaving it stops what was started.
    """

    def __init__(
        self, limits: Resources, address: str | None = None, credentials: ForwardedCredentials | None = None
    ) -> None:
        self._make = lambda: Engine(limits, address, credentials)
        self._limits = limits
        there = named_cluster(address) or _is_running()
        self.local_pool = None if there else LocalPool(limits.num_cpus or os.cpu_count() or 1, replaces_dead=True)
        self._threads = ThreadPoolExecutor(1, "engine")
        self._engine: Future[Engine] | None = None
        self._handlers: dict[signal.Signals, Any] = {}
        self.meanwhile: Callable[[], object] = lambda: None
        """Called twice a second while the engine starts; an exception ends the wait."""

    def begin(self, n_frames: int, has_models: bool = False) -> None:
        """Start in the background what this number of new frames is sure to need, also of models, if there are any."""
        if self.local_pool:
            self.local_pool.start()
        needs_engine = has_models and n_frames > MAX_LOCAL_FRAMES
        if needs_engine or not self.local_pool or not self._limits.engine_after_seconds:
            self._begin()

    def takes_over(self, seconds_left: float) -> bool:
        """Return whether the engine has started, and start it in the background if the work left is worth it.

        `seconds_left` is how long the processes of this machine would take. An engine that cannot be started never
        takes over: they continue.
        """
        if self.local_pool is None:
            return True
        if self._engine is None and seconds_left > self._limits.engine_after_seconds:
            self._begin()
        return self._engine is not None and self._engine.done() and self._engine.exception() is None

    def _begin(self) -> None:
        if self._engine is None:
            self._handlers = {n: h for n in _SIGNALS if (h := signal.getsignal(n)) is not None}
            self._engine = self._threads.submit(self._make)

    def local_models(self, n_frames: int) -> ModelProcesses | None:
        """Return the local model processes that are enough for this number of frames, without an engine.

        None if an engine is running or starting, and on machines with GPUs, which the engine allocates.
        """
        if self.local_pool is None or self._engine is not None or n_frames > MAX_LOCAL_FRAMES or may_have_gpu():
            return None
        return share_out([(self.local_pool.size, 0)], self.local_pool.size, self._limits.models)

    def __call__(self) -> Engine:
        """Return the engine, waiting until it has started."""
        self._begin()
        assert self._engine is not None
        while not wait([self._engine], timeout=_LOOK_S).done:
            self.meanwhile()
        engine = self._engine.result()
        # Ray's core installs signal handlers that only print a stack trace; restore ours.
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.local_pool:
            self.local_pool.close()

        def stop() -> None:
            if self._engine is not None and self._engine.exception() is None:
                self._engine.result().__exit__(kind, error, trace)

        interrupted = isinstance(error, (KeyboardInterrupt, RunStopped))
        if interrupted:
            # A signal to the whole process group has also ended the cluster, and disconnecting would take a minute.
            # Its processes end with this one in any case.
            stopping = Thread(target=stop, name="stop", daemon=True)
            stopping.start()
            if isinstance(error, KeyboardInterrupt):
                stopping.join(_GRACE_S)
            elif self._engine is None or self._engine.done():
                stopping.join(_ANSWER_S)
        else:
            stop()
        self._threads.shutdown(wait=not interrupted)


def _is_running() -> bool:
    """Return whether this process has an engine, without importing one."""
    ray = sys.modules.get("ray")
    return bool(ray and ray.is_initialized())
