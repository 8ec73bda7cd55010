"""Allocator settings that return freed memory to the system, so that the peak memory of long processes stays low.

Three allocators are used in the driver: libc's for NumPy and Python, Arrow's pool, and jemalloc for Polars. Each keeps
freed memory for its own next use, so that the temporaries of all steps would add up.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys

# malloc.h of glibc.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MADE_BETWEEN_SEARCHES = 20_000
_OF_POLARS, _SOON = "_RJEM_MALLOC_CONF", "dirty_decay_ms:100,muzzy_decay_ms:0"


def share_one_allocator() -> None:
    """Make Arrow use libc, libc use few arenas, and Polars release memory soon: for the driver and its steps.

    Takes effect if pyarrow and polars are not loaded yet; existing settings in the environment are kept.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault(_OF_POLARS, _SOON)
    _mallopt((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, 8 << 20), (_M_TRIM_THRESHOLD, 16 << 20))


def collect_rarely() -> None:
    """Have Python search for garbage less often; to be called before most is imported.

    Modules are thousands of objects and no garbage: to search them, again and again while more are imported, takes a
    tenth of a command's start. Nearly all that a command drops is freed at once, without any search.
    """
    gc.set_threshold(_MADE_BETWEEN_SEARCHES)


def release_memory() -> None:
    """Return freed memory that libc has kept to the system; to be called at the end of a step."""
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def release_soon() -> None:
    """Make libc return freed memory early: for a server, which is idle most of the time and holds large arrays.

    To be called before Polars is loaded, whose allocator otherwise returns memory with a later allocation, which may be
    hours after. What is larger than a quarter of a megabyte has pages of its own, which are released with it.
    """
    if os.environ.get(_OF_POLARS, _SOON) == _SOON:
        os.environ[_OF_POLARS] = "dirty_decay_ms:0,muzzy_decay_ms:0"
    _mallopt((_M_MMAP_THRESHOLD, 256 << 10), (_M_TRIM_THRESHOLD, 1 << 20))


@functools.cache
def keep_freed() -> None:
    """Make libc keep freed memory: for workers, where releasing images and faulting the pages in again costs 3 %."""
    _mallopt((_M_MMAP_THRESHOLD, 256 << 20), (_M_TRIM_THRESHOLD, 512 << 20))


def _mallopt(*settings: tuple[int, int]) -> None:
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None:
        for name, value in settings:
            mallopt(name, value)


@functools.cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
