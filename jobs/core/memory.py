"""What a long process does to give freed memory back, so that its peak is what it uses and not what it once used.

Three allocators live in the driver: libc's under NumPy and Python, Arrow's pool, jemalloc under Polars. Each keeps what
was freed for its own next use, so that every step's temporaries would come on top of those of the steps before.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

# malloc.h of glibc.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def share_one_allocator() -> None:
    """Let Arrow allocate from libc, libc from few arenas, and Polars give back soon: for the driver and its steps.

    Takes effect if pyarrow and polars are not loaded yet; what the environment already says about them stands.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:100,muzzy_decay_ms:0")
    _mallopt((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, 8 << 20), (_M_TRIM_THRESHOLD, 16 << 20))


def give_back() -> None:
    """Return what libc has kept of freed memory to the system; for the end of a step."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@functools.cache
def keep_freed() -> None:
    """Ask libc to keep freed memory: for workers, where giving pictures back and faulting them in anew costs 3 %."""
    _mallopt((_M_MMAP_THRESHOLD, 256 << 20), (_M_TRIM_THRESHOLD, 512 << 20))


def _mallopt(*settings: tuple[int, int]) -> None:
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        for name, value in settings:
            mallopt(name, value)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
