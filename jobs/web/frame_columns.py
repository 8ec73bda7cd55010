"""Columns of frames: their keys, verdicts and objects, and how rows of tables are put in their order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.views.overridden_verdicts import BY_HAND
from transforms.curate.curation import REASONS

Array = npt.NDArray[Any]

KEPT, DECIDED, FIRST_REASON = 1, 2, 2
"""Bits of `verdicts`: the frame is kept; it has a row in `curation`; and the place of the bit of the first reason."""

NO_TIME = np.iinfo(np.int64).min
"""The value of an integer that is not known."""


@dataclass(frozen=True)
class FrameKeys:
    """The frames: streams by name, where the rows of each begin (and those of the last one end), and frame numbers."""

    streams: tuple[str, ...]
    starts: Array
    numbers: Array

    def __len__(self) -> int:
        return len(self.numbers)

    def rows_of(self, stream: str) -> slice:
        """Return the rows of a stream; of none for one that is not there."""
        at = bisect_left(self.streams, stream)
        if at == len(self.streams) or self.streams[at] != stream:
            return slice(0, 0)
        return slice(int(self.starts[at]), int(self.starts[at + 1]))

    def find(self, stream: str, number: int) -> int | None:
        """Return the row of a frame; None where there is none."""
        rows = self.rows_of(stream)
        at = rows.start + int(np.searchsorted(self.numbers[rows], number))
        return at if at < rows.stop and self.numbers[at] == number else None

    def frame(self, row: int) -> tuple[str, int]:
        """Return stream and number of the frame of a row."""
        return self.streams[bisect_right(self.starts, row) - 1], int(self.numbers[row])

    def streams_of(self, rows: Array) -> Array:
        """Return the place of the stream of each of some rows among `streams`."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def per_stream(self, chosen: Array) -> Array:
        """Return how many rows of each stream are chosen by a boolean array."""
        total = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(chosen, out=total[1:])
        return np.diff(total[self.starts])


@dataclass(frozen=True)
class FrameVerdicts:
    """The verdict of each frame as bits, and the names of the reasons in order of their bits."""

    bits: Array
    names: tuple[str, ...]

    @property
    def kept(self) -> Array:
        """Return which frames are kept."""
        return (self.bits & KEPT) != 0

    @property
    def dropped(self) -> Array:
        """Return which frames are dropped."""
        return (self.bits & (KEPT | DECIDED)) == DECIDED

    def has(self, reason: str) -> Array:
        """Return which frames have a reason."""
        if reason not in self.names:
            return np.zeros(len(self.bits), np.bool_)
        return (self.bits >> (FIRST_REASON + self.names.index(reason)) & 1) != 0

    def reasons_of(self, bits: int) -> list[str]:
        """Return the reasons of a frame with these bits."""
        return [name for at, name in enumerate(self.names) if bits >> (FIRST_REASON + at) & 1]


@dataclass(frozen=True)
class ObjectCounts:
    """Objects: how many each frame has (-1 where nothing was searched for), and the categories on each.

    `rows` and `categories`, of equal shape, have one entry for each category that is on a frame.
    """

    counts: Array
    names: tuple[str, ...]
    rows: Array
    categories: Array


def keys_of(rows: pa.Table) -> FrameKeys:
    """Return the frames of some rows, in order."""
    names, codes = _stream_codes(rows["stream_id"])
    order = np.argsort(np.array(names, object), kind="stable") if names else np.empty(0, np.int64)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    stream = rank[codes] if len(codes) else codes
    numbers = rows["frame_idx"].to_numpy()
    if len(stream) and not _is_sorted(stream, numbers):
        place = np.lexsort((numbers, stream))
        stream, numbers = stream[place], numbers[place]
    starts = np.searchsorted(stream, np.arange(len(names) + 1))
    return FrameKeys(tuple(names[at] for at in order), starts, np.ascontiguousarray(numbers))


def _stream_codes(column: pa.ChunkedArray) -> tuple[list[str], Array]:
    """Return the different names in a column, and for each row the place of its own among them."""
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _is_sorted(stream: Array, numbers: Array) -> bool:
    step = np.diff(stream)
    return bool(((step > 0) | ((step == 0) & (np.diff(numbers) > 0))).all())


def places(keys: FrameKeys, rows: pa.Table) -> Array:
    """Return for each row the place of its frame among `keys`; -1 where it is not there."""
    names, codes = _stream_codes(rows["stream_id"])
    numbers = rows["frame_idx"].to_numpy()
    found = np.full(len(numbers), -1, np.int64)
    if not len(numbers):
        return found
    order = np.argsort(codes, kind="stable")
    borders = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for at, name in enumerate(names):
        mine = order[borders[at] : borders[at + 1]]
        rows_of = keys.rows_of(name)
        own = keys.numbers[rows_of]
        if not len(own):
            continue
        place = np.minimum(np.searchsorted(own, numbers[mine]), len(own) - 1)
        found[mine] = np.where(own[place] == numbers[mine], place + rows_of.start, -1)
    return found


def placed(values: pa.ChunkedArray, place: Array, dtype: type[np.generic], n: int) -> Array:
    """Return values in the order of the frames, with NaN or `NO_TIME` for frames without any."""
    nothing: Any = NO_TIME if dtype is np.int64 else np.nan
    found = np.full(n, nothing, dtype)
    there = place >= 0
    if dtype is np.int64:
        plain = pc.fill_null(values, nothing).to_numpy()
    else:
        plain = values.cast(pa.float32(), safe=False).to_numpy()
    found[place[there]] = plain[there]
    return found


def overridden(verdicts: FrameVerdicts, rows: Array, kept: Array) -> FrameVerdicts:
    """Return verdicts with the last word of people, as `jobs.views.overridden_verdicts` applies it.

    `rows` are those of the frames that somebody decided about, shape (N,), `kept` whether to keep them, boolean, shape
    (N,). Frames without a verdict stay without one.
    """
    names = verdicts.names if BY_HAND in verdicts.names else (*verdicts.names, BY_HAND)
    bits = verdicts.bits.astype(np.uint16 if FIRST_REASON + len(names) <= 16 else np.uint32)
    is_decided = (bits[rows] & np.array(DECIDED, bits.dtype)) != 0
    rows, kept = rows[is_decided], kept[is_decided]
    by_hand = 1 << (FIRST_REASON + names.index(BY_HAND))
    bits[rows] = np.where(kept, KEPT | DECIDED, (bits[rows] & ~np.array(KEPT, bits.dtype)) | by_hand)
    return FrameVerdicts(bits, names)


def verdicts_of(rows: pa.Table, place: Array, n: int) -> FrameVerdicts:
    """Return the verdicts in rows of `curation`, in the order of the N frames; `place` is that of each row."""
    lists = rows["reasons"].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.chunk(0) if lists.num_chunks else pa.array([], pa.list_(pa.string()))
    words, codes = _stream_codes(pa.chunked_array([lists.flatten()]))
    others = sorted(set(words) - set(REASONS))
    names = (*REASONS, *others)
    at = np.array([names.index(word) for word in words], np.int64)
    bits = np.zeros(rows.num_rows, np.uint32)
    of_row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    if len(of_row):
        np.bitwise_or.at(bits, of_row, (1 << (FIRST_REASON + at[codes])).astype(np.uint32))
    keep = rows["keep"].to_numpy().astype(np.uint32)
    bits |= keep * KEPT | DECIDED
    found = np.zeros(n, np.uint16 if FIRST_REASON + len(names) <= 16 else np.uint32)
    there = place >= 0
    found[place[there]] = bits[there]
    return FrameVerdicts(found, names)
