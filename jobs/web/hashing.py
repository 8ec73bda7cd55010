"""Passwords are hashed by two threads at most, so that bad sign-ins by the thousand leave other requests alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jobs.accounts.errors import TooManyTriesError

_Result = TypeVar("_Result")

_TOGETHER = 2
_MOST_WAITING = 16
_WAIT_S = 5.0


class Hashing:
    """Two threads that hash, and a queue of limited length before them."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_TOGETHER, thread_name_prefix="hashing")
        self._waiting = 0

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Run work and return its result. Raises `TooManyTriesError` where too many are waiting already."""
        # Only the event loop comes here: nothing changes between the comparison and the sum.
        if self._waiting >= _MOST_WAITING:
            raise TooManyTriesError(_WAIT_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
