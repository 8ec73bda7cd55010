"""What a project shows of its frames, as columns in memory: about 40 bytes a frame, each column read when it is needed.

Rows are in order of stream and frame number. A column is read again only where files that it comes from are others:
what a run commits under keys that nothing shows changes none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.storage.store import Store
from jobs.views.snapshot_spec import Selection
from jobs.views.view import View
from transforms.curate.curation import REASONS

Array = npt.NDArray[Any]

KEPT, DECIDED, FIRST_REASON = 1, 2, 2
"""Bits of `verdicts`: the frame is kept; it has a row in `curation`; and the place of the bit of the first reason."""

_HASH_DIGITS = 16


class _Source(NamedTuple):
    table: schemas.Table
    column: str
    dtype: type[np.generic]


_SOURCES = {
    "content": _Source(schemas.FRAMES, "input_id", np.int64),
    "width": _Source(schemas.FRAMES, "width", np.float32),
    "height": _Source(schemas.FRAMES, "height", np.float32),
    "time": _Source(schemas.FRAMES, "t_ns", np.int64),
    "sharpness": _Source(schemas.QUALITY, "sharpness", np.float32),
    "luma": _Source(schemas.QUALITY, "luma_mean", np.float32),
    "contrast": _Source(schemas.QUALITY, "contrast", np.float32),
    "motion": _Source(schemas.MOTION, "motion_peak", np.float32),
}
"""Columns of numbers: the table and column of each. Floats are NaN, integers `NO_TIME`, where there is no value."""

NO_TIME = np.iinfo(np.int64).min
_OBJECT_TABLES = (
    schemas.ANNOTATIONS,
    schemas.ANNOTATED,
    schemas.MASKS,
    schemas.TRACKS,
    schemas.PROPAGATIONS,
    schemas.PROPAGATED,
    schemas.TEXTS,
    *(schemas.BY_NAME[name] for name in ("imports", "reviews", "routing", "escalated", "frames")),
)


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


class FrameTable:
    """The columns of one version of a project's frames; safe for threads."""

    def __init__(self, store: Store, selection: Selection, before: FrameTable | None = None) -> None:
        """Make the table of a store whose versions do not change; unchanged columns are taken over from `before`."""
        self.view = View(store, selection)
        self._store = store
        self._selection = selection
        self._lock = RLock()
        self._held: dict[str, Any] = {}
        self._files: dict[str, frozenset[str]] = {}
        if before is not None and before.files_of(schemas.FRAMES) == self.files_of(schemas.FRAMES):
            self._held = before.still_valid(self)

    def files_of(self, table: schemas.Table) -> frozenset[str]:
        """Return what the shown rows of a table depend on: its files, as far as they may have rows that are shown."""
        with self._lock:
            if table.name not in self._files:
                snapshot = self._store.open(table)
                keys = self._selection.keys.get(table.written_by, {})
                streams: dict[str, set[str]] = {}
                for stream, key in keys.items():
                    streams.setdefault(key, set()).add(stream)
                named = {key: frozenset(names) for key, names in streams.items()}
                found = {
                    file.path
                    for file in snapshot.files
                    if not table.has_stage_key
                    or (file.stage_key in named and file.may_hold(named[file.stage_key], (None, None)))
                }
                rules = self._selection.rules.get(table.written_by, {})
                found |= {f"key {s} {k} {rules.get(s)}" for s, k in keys.items()} if table.has_stage_key else set()
                self._files[table.name] = frozenset(found)
            return self._files[table.name]

    def still_valid(self, after: FrameTable) -> dict[str, Any]:
        """Return the columns that a later version has, too."""
        with self._lock:
            held = dict(self._held)
        depends: dict[str, tuple[schemas.Table, ...]] = {name: (source.table,) for name, source in _SOURCES.items()}
        depends |= {"keys": (schemas.FRAMES,), "verdicts": (schemas.CURATION,), "objects": _OBJECT_TABLES}
        return {
            name: value
            for name, value in held.items()
            if all(self.files_of(table) == after.files_of(table) for table in depends[name])
        }

    @property
    def n_bytes(self) -> int:
        """Return the memory of all columns that are held."""
        with self._lock:
            return sum(_size(value) for value in self._held.values())

    @property
    def keys(self) -> FrameKeys:
        """Return the frames that there are."""
        with self._lock:
            if "keys" not in self._held:
                self._held["keys"] = _keys_of(self._read(schemas.FRAMES, ()))
            found: FrameKeys = self._held["keys"]
            return found

    def column(self, name: str) -> Array:
        """Return a column of `_SOURCES`, shape (N,)."""
        with self._lock:
            if name not in self._held:
                source = _SOURCES[name]
                # One pass over the file for what is read from it together.
                alike = [n for n, s in _SOURCES.items() if s.table is source.table and self._is_wanted(n, name)]
                rows = self._read(source.table, [_SOURCES[n].column for n in alike])
                place = _places(self.keys, rows)
                for each in alike:
                    self._held[each] = _placed(rows[_SOURCES[each].column], place, _SOURCES[each].dtype, len(self.keys))
            found: Array = self._held[name]
            return found

    def _is_wanted(self, name: str, asked: str) -> bool:
        return name == asked or (name not in self._held and {name, asked} <= {"width", "height", "content", "time"})

    @property
    def verdicts(self) -> FrameVerdicts:
        """Return which frames are kept, and why others are not."""
        with self._lock:
            if "verdicts" not in self._held:
                rows = self._read(schemas.CURATION, ("keep", "reasons"))
                self._held["verdicts"] = _verdicts(rows, _places(self.keys, rows), len(self.keys))
            found: FrameVerdicts = self._held["verdicts"]
            return found

    @property
    def objects(self) -> ObjectCounts:
        """Return how many objects there are on frames, and of which categories."""
        with self._lock:
            if "objects" not in self._held:
                self._held["objects"] = self._objects()
            found: ObjectCounts = self._held["objects"]
            return found

    @property
    def has_objects(self) -> bool:
        """Return whether anything says what is on frames: a detector, imported labels, or a person."""
        by_hand = (schemas.BY_NAME["imports"], schemas.BY_NAME["reviews"])
        return schemas.ANNOTATED.written_by in self._selection.keys or any(
            self._store.open(table).n_rows for table in by_hand
        )

    def hashes(self, rows: Sequence[int] | Array) -> list[str]:
        """Return the first 16 hex digits of the content hash of some frames, which their `input_id` is."""
        data = self.column("content")[np.asarray(rows, np.int64)].astype("<i8").tobytes().hex()
        return [data[at : at + _HASH_DIGITS] for at in range(0, len(data), _HASH_DIGITS)]

    def row(self, table: schemas.Table, stream: str, number: int, columns: Sequence[str] | None = None) -> Any:
        """Return a frame's row of a per-frame table as a dictionary; None where there is none."""
        key = self._selection.keys.get(table.written_by, {}).get(stream)
        if key is None:
            return None
        names = list(columns or table.arrow_schema.names)
        span = (number, number + 1)
        found = self._store.open(table).read(names, key, frozenset([stream]), span).to_pylist()
        return found[0] if found else None

    def _read(self, table: schemas.Table, columns: Sequence[str]) -> pa.Table:
        """Return the rows of a per-frame table that are shown: their keys, and some columns."""
        names = [*schemas.FRAME_KEY, *columns]
        if self._selection.rules.get(table.written_by):
            return self.view.lazy(table.name).select(names).collect().to_arrow()
        of_key: dict[str, set[str]] = {}
        for stream, key in self._selection.keys.get(table.written_by, {}).items():
            of_key.setdefault(key, set()).add(stream)
        snapshot = self._store.open(table)
        parts = [snapshot.read(names, key, frozenset(streams)) for key, streams in sorted(of_key.items())]
        parts = [part for part in parts if part.num_rows]
        empty = pa.schema([table.arrow_schema.field(name) for name in names]).empty_table()
        return pa.concat_tables(parts) if parts else empty

    def _objects(self) -> ObjectCounts:
        n = len(self.keys)
        counts = np.full(n, -1, np.int32)
        nothing = ObjectCounts(counts, (), np.empty(0, np.uint32), np.empty(0, np.uint16))
        if not self.has_objects:
            return nothing
        for name in ("annotated", "propagated", "reviewed_frames"):
            frames = self.view.lazy(name).select(schemas.FRAME_KEY).collect().to_arrow()
            place = _places(self.keys, frames)
            counts[place[place >= 0]] = 0
        grouped = self.view.lazy("objects").group_by(*schemas.FRAME_KEY, "category").len().collect()
        place = _places(self.keys, grouped.select(schemas.FRAME_KEY).to_arrow())
        grouped = grouped.with_columns(row=pl.Series(place)).filter(pl.col("row") >= 0).sort("row", "category")
        names = tuple(sorted(grouped["category"].unique().to_list()))
        codes = {name: code for code, name in enumerate(names)}
        rows = grouped["row"].to_numpy()
        counts[np.unique(rows)] = 0
        np.add.at(counts, rows, grouped["len"].to_numpy().astype(np.int32))
        categories = np.array([codes[name] for name in grouped["category"].to_list()], np.uint16)
        return ObjectCounts(counts, names, rows.astype(np.uint32), categories)


def _keys_of(rows: pa.Table) -> FrameKeys:
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


def _places(keys: FrameKeys, rows: pa.Table) -> Array:
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


def _placed(values: pa.ChunkedArray, place: Array, dtype: type[np.generic], n: int) -> Array:
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


def _verdicts(rows: pa.Table, place: Array, n: int) -> FrameVerdicts:
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


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    arrays: Mapping[str, Any] = vars(value)
    return sum(array.nbytes for array in arrays.values() if isinstance(array, np.ndarray))
