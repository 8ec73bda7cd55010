"""Ids of rows and files as int64 arrays, derived from digests: content ids, pair ids, stat ids.

Contents are hashed where they are read: `frames/frame_image.py` for files, `frames/clip.py` for frames of clips.

All mixing is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): a bijection of
64-bit words with uniformly distributed outputs, so that sums of ids collide no more often than random numbers do. Ids
are stored as int64, since Delta has no unsigned integers; arithmetic is done on uint64 and wraps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]

UNTRUSTED = 0
"""The `stat_id` of a file whose size and mtime are no proof of unchanged content; no real file has this id."""

_NO_PREDECESSOR = np.uint64(0x9C6E_2F3B_5D17_A4E1)
# Hashing needs several 8-byte words of temporary memory per input byte, so strings are hashed in batches.
_STRINGS_AT_ONCE = 4096
_RACY_FINE_NS = 20_000_000
_RACY_COARSE_NS = 2_000_000_000


def mix(words: UInt64Array) -> UInt64Array:
    """Return SplitMix64 of every word; shape and dtype are kept."""
    z = words + np.uint64(0x9E37_79B9_7F4A_7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))


def content_id(digest: bytes) -> int:
    """Return the first 64 bits of a BLAKE3 digest as a signed integer: the `input_id` of a single frame."""
    return int.from_bytes(digest[:8], "little", signed=True)


def pair_ids(current: Int64Array, previous: Int64Array, has_previous: npt.NDArray[np.bool_]) -> Int64Array:
    """Return the ids of rows computed from a frame and its predecessor, shape (N,), int64.

    `current` and `previous` are content ids, shape (N,); `previous` is ignored where `has_previous` is false.
    """
    second = np.where(has_previous, mix(previous.view(np.uint64)), _NO_PREDECESSOR)
    return mix(current.view(np.uint64) ^ (second << np.uint64(1))).view(np.int64)


def hash_strings(strings: pa.Array | pa.ChunkedArray, seed: int = 0) -> UInt64Array:
    """Return a 64-bit hash of every string, shape (N,), uint64, the same on every machine and in every version.

    Zobrist hashing: every (byte, position) has a pseudo-random word, and a string's hash is the sum of its words.
    """
    chunks = strings.chunks if isinstance(strings, pa.ChunkedArray) else [strings]
    hashed = np.empty(len(strings), np.uint64)
    done = 0
    for chunk in chunks:
        for first in range(0, len(chunk), _STRINGS_AT_ONCE):
            some = chunk.slice(first, _STRINGS_AT_ONCE)
            hashed[done : done + len(some)] = _hash_few(some, seed)
            done += len(some)
    return hashed


def _hash_few(strings: pa.Array, seed: int) -> UInt64Array:
    binary = strings.cast(pa.large_binary())
    offsets = np.frombuffer(binary.buffers()[1], np.int64)[binary.offset : binary.offset + len(binary) + 1]
    lengths = np.diff(offsets)
    # Arrow may omit the data buffer where all strings are empty.
    data = np.frombuffer(binary.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    place = np.arange(len(data), dtype=np.uint64) - np.repeat((offsets[:-1] - offsets[0]).astype(np.uint64), lengths)
    running = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(mix(data.astype(np.uint64) + (place + np.uint64(1)) * np.uint64(256)), out=running[1:])
    ends = offsets - offsets[0]
    total = running[ends[1:]] - running[ends[:-1]]
    return mix(total ^ mix(lengths.astype(np.uint64) + np.uint64(seed)))


def stat_ids(uris: pa.Array, size_bytes: Int64Array, mtime_ns: Int64Array) -> Int64Array:
    """Return an id for each file's (uri, size, mtime), shape (N,), int64, never `UNTRUSTED`.

    If a stored id equals the id from a fresh listing, the file need not be read again.
    """
    ids = hash_strings(uris) ^ mix(size_bytes.view(np.uint64)) ^ (mix(mtime_ns.view(np.uint64)) << np.uint64(1))
    ids = mix(ids)
    return np.where(ids == np.uint64(UNTRUSTED), np.uint64(1), ids).view(np.int64)


def timed_ids(ids: Int64Array, t_ns: pa.Array) -> Int64Array:
    """Return ids of `stat_ids` for files with times, shape (N,), int64: the same where the time is null.

    A file whose time is another one now is therefore read again, and its row rewritten.
    """
    times = mix(pc.fill_null(t_ns, 0).to_numpy(zero_copy_only=False).view(np.uint64))
    is_timed = pc.is_valid(t_ns).to_numpy(zero_copy_only=False)
    found = np.where(is_timed, ids.view(np.uint64) ^ times, ids.view(np.uint64))
    return np.where(found == np.uint64(UNTRUSTED), np.uint64(1), found).view(np.int64)


def is_racy(mtime_ns: int, read_ns: int, changed_ns: int | None = None) -> bool:
    """Return whether a file was modified so shortly before it was read that a later write could leave the same mtime.

    The rule of Git's index. File systems round timestamps to the clock tick (milliseconds) or to one or two whole
    seconds; an mtime without a fraction of a second is taken for the latter. An mtime in the future was set by hand, or
    by a clock that is ahead; then `changed_ns`, the ctime in ns since 1970, which programs cannot set, is compared
    instead.
    """
    if mtime_ns > read_ns and changed_ns is not None:
        mtime_ns = changed_ns
    coarse = mtime_ns % 1_000_000_000 == 0
    return mtime_ns + (_RACY_COARSE_NS if coarse else _RACY_FINE_NS) >= read_ns


def first_equal(ids: npt.NDArray[Any]) -> Int64Array:
    """Return for each id the position of its first occurrence, shape (N,), int64."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def row_terms(frame_idx: Int64Array, input_id: Int64Array) -> UInt64Array:
    """Return a hash of every row's (frame_idx, input_id), shape (N,), uint64.

    The wrapping sum of these hashes identifies a set of rows in any order.
    """
    return mix(frame_idx.view(np.uint64) ^ mix(input_id.view(np.uint64)))
