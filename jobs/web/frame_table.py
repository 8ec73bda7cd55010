"""What a project shows of its frames, as columns in memory: 65 bytes a frame at most, each read when it is needed.

Rows are in order of stream and frame number. A column is read again only where files that it comes from are others:
what a run commits under keys that nothing shows changes none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.storage.store import Store
from jobs.views.overridden_verdicts import KEEP
from jobs.views.snapshot_spec import Selection
from jobs.views.view import View
from jobs.web.frame_columns import (
    Array,
    FrameKeys,
    FrameVerdicts,
    ObjectCounts,
    keys_of,
    overridden,
    placed,
    places,
    verdicts_of,
)

_HASH_DIGITS = 16

T = TypeVar("T")


class _Source(NamedTuple):
    table: schemas.Table
    column: str
    dtype: type[np.generic]


SOURCES = {
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

_TOGETHER = ({"width", "height", "content", "time"}, {"sharpness", "luma"})
"""Columns that are read in one pass, since pages show them together."""

_OBJECT_TABLES = (
    schemas.ANNOTATIONS,
    schemas.ANNOTATED,
    schemas.MASKS,
    schemas.TRACKS,
    schemas.PROPAGATIONS,
    schemas.PROPAGATED,
    schemas.TEXTS,
    *(schemas.BY_NAME[name] for name in ("imports", "reviews", "routing", "escalated", "frames")),
    # Rules choose frames by their verdicts.
    *(schemas.CURATION, schemas.OVERRIDES),
)


class FrameTable:
    """The columns of one version of a project's frames; safe for threads."""

    def __init__(self, store: Store, selection: Selection, before: FrameTable | None = None) -> None:
        """Make the table of a store whose versions do not change; unchanged columns are taken over from `before`."""
        self.view = View(store, selection)
        self._store = store
        self._selection = selection
        self._lock = RLock()
        self._held: dict[str, Any] = {}
        self._depends: dict[str, tuple[schemas.Table, ...]] = {}
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
            after.depend_on(self._depends)
            depends = dict(self._depends)
        depends |= {name: (source.table,) for name, source in SOURCES.items()}
        depends |= {"keys": (schemas.FRAMES,), "objects": _OBJECT_TABLES}
        depends |= {"verdicts": (schemas.CURATION, schemas.OVERRIDES, schemas.FRAMES)}
        return {
            name: value
            for name, value in held.items()
            if name in depends and all(self.files_of(table) == after.files_of(table) for table in depends[name])
        }

    @property
    def n_bytes(self) -> int:
        """Return the memory of all columns that are held."""
        with self._lock:
            return sum(_size(value) for value in self._held.values())

    @property
    def keys(self) -> FrameKeys:
        """Return the frames that there are."""
        found: FrameKeys = self._once("keys", lambda: {"keys": keys_of(self._read(schemas.FRAMES, ()))})
        return found

    def column(self, name: str) -> Array:
        """Return a column of `SOURCES`, shape (N,)."""
        found: Array = self._once(name, lambda: self._columns_with(name))
        return found

    @property
    def verdicts(self) -> FrameVerdicts:
        """Return which frames are kept, and why others are not."""
        found: FrameVerdicts = self._once("verdicts", self._verdicts)
        return found

    @property
    def objects(self) -> ObjectCounts:
        """Return how many objects there are on frames, and of which categories."""
        found: ObjectCounts = self._once("objects", lambda: {"objects": self._objects()})
        return found

    def held(self, name: str, tables: tuple[schemas.Table, ...], read: Callable[[], T]) -> T:
        """Return what `read` computes, which is held as long as the shown rows of these tables are the same."""
        self.depend_on({name: tables})
        found: T = self._once(name, lambda: {name: read()})
        return found

    def depend_on(self, tables: Mapping[str, tuple[schemas.Table, ...]]) -> None:
        """Note from which tables what is held under a name comes."""
        with self._lock:
            self._depends |= tables

    def _once(self, name: str, read: Callable[[], dict[str, Any]]) -> Any:
        """Return what is held under a name, after reading it, and what else one pass over its files gives."""
        with self._lock:
            if name not in self._held:
                self._held |= read()
                free_unused()
            return self._held[name]

    def _columns_with(self, name: str) -> dict[str, Array]:
        table = SOURCES[name].table
        together = next((names for names in _TOGETHER if name in names), {name})
        wanted = [each for each in SOURCES if each in together and (each == name or each not in self._held)]
        rows = self._read(table, [SOURCES[each].column for each in wanted])
        place = places(self.keys, rows)
        n = len(self.keys)
        return {each: placed(rows[SOURCES[each].column], place, SOURCES[each].dtype, n) for each in wanted}

    def _verdicts(self) -> dict[str, Any]:
        rows = self.decisions
        found = self.held("decided", (schemas.CURATION,), self._decided)
        if not rows:
            return {"verdicts": found}
        kept = np.array([decision["decision"] == KEEP for decision in rows.values()])
        return {"verdicts": overridden(found, np.array([*rows], np.int64), kept)}

    def _decided(self) -> FrameVerdicts:
        """Return what curation decided by itself."""
        rows = self._read(schemas.CURATION, ("keep", "reasons"))
        return verdicts_of(rows, places(self.keys, rows), len(self.keys))

    @property
    def decisions(self) -> dict[int, dict[str, Any]]:
        """Return what people decided by hand about frames as they are now: rows of `overrides` by row of the frame."""
        return self.held("decisions", (schemas.OVERRIDES, schemas.FRAMES), self._decisions)

    def _decisions(self) -> dict[int, dict[str, Any]]:
        stored = self._store.open(schemas.OVERRIDES)
        if not stored.n_rows:
            return {}
        rows = stored.read()
        place = places(self.keys, rows)
        hashes = dict(zip(place.tolist(), self.hashes(np.maximum(place, 0)), strict=True)) if len(self.keys) else {}
        return {
            row: found
            for row, found in zip(place.tolist(), rows.to_pylist(), strict=True)
            if row >= 0 and hashes[row] == found["content_hash"][:_HASH_DIGITS]
        }

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

    def mask_of(self, rows: pa.Table) -> Array:
        """Return which frames are among some rows with their keys, boolean, shape (N,)."""
        found = np.zeros(len(self.keys), np.bool_)
        place = places(self.keys, rows)
        found[place[place >= 0]] = True
        return found

    def stored_rows(
        self, table: schemas.Table, row: int, stage: str = "", columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return the rows of a single frame that are shown of a stored table, or that another stage has written."""
        stream, number = self.keys.frame(row)
        names = list(columns or table.arrow_schema.names)
        key = self._selection.keys.get(stage or table.written_by, {}).get(stream)
        snapshot = self._store.open(table)
        nothing = pa.schema([table.arrow_schema.field(name) for name in names]).empty_table()
        if not snapshot.n_rows or (table.has_stage_key and key is None):
            return nothing
        if not stage and table.has_stage_key and not self._is_chosen(table, row):
            return nothing
        return snapshot.read(names, key, frozenset([stream]), (number, number + 1))

    def values(self, table: schemas.Table, columns: Sequence[str]) -> pa.Table:
        """Return columns of a per-frame table in the order of the frames, null for frames without a row of it."""
        if table is schemas.CURATION and self.decisions:
            rows = self.view.lazy(table.name).select(*schemas.FRAME_KEY, *columns).collect().to_arrow()
        else:
            rows = self._read(table, columns)
        place = places(self.keys, rows)
        n = len(self.keys)
        rows = rows.select(list(columns))
        if len(place) == n and bool((place == np.arange(n)).all()):
            return rows
        at = np.full(n, -1, np.int64)
        at[place[place >= 0]] = np.flatnonzero(place >= 0)
        return rows.take(pa.array(at, mask=at < 0))

    def rows_of(self, stream: str, columns: Sequence[str]) -> pa.Table:
        """Return columns of `frames` of a stream, in no order."""
        key = self._selection.keys[schemas.FRAMES.written_by][stream]
        return self._store.open(schemas.FRAMES).read(columns, key, frozenset([stream]))

    def rows_around(self, row: int, n: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of `frames` of a frame and those with up to `n` smaller and larger numbers, in no order."""
        stream, number = self.keys.frame(row)
        key = self._selection.keys[schemas.FRAMES.written_by][stream]
        # No further than there are numbers.
        span = (max(0, number - n), min(number + n, 2**63 - 2) + 1)
        return self._store.open(schemas.FRAMES).read(columns, key, frozenset([stream]), span)

    def _is_chosen(self, table: schemas.Table, row: int) -> bool:
        """Return whether the rule of a stage, if it has one, chooses a frame now."""
        if not self._selection.rules.get(table.written_by):
            return True
        name = f"chosen {table.name}"
        shown = "annotations_found" if table is schemas.ANNOTATIONS else table.name
        query = f"SELECT DISTINCT stream_id, frame_idx FROM {shown}"
        return bool(self._once(name, lambda: {name: self.mask_of(self.view.sql(query))})[row])

    def intervals(self, table: schemas.Table, stream: str, number: int) -> list[dict[str, Any]]:
        """Return the rows of intervals of a stream that contain a frame number."""
        key = self._selection.keys.get(table.written_by, {}).get(stream)
        if key is None:
            return []
        rows = self._store.open(table).read(None, key, frozenset([stream]))
        inside = pc.and_(pc.less_equal(rows["start_idx"], number), pc.greater_equal(rows["end_idx"], number))
        return [dict(row) for row in rows.filter(inside).to_pylist()]

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

    def batches(self, table: schemas.Table, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of a per-frame table that are shown, as `_read` has them, in parts that fit into memory."""
        names = [*schemas.FRAME_KEY, *columns]
        if self._selection.rules.get(table.written_by):
            yield self._read(table, columns)
            return
        of_key: dict[str, set[str]] = {}
        for stream, key in self._selection.keys.get(table.written_by, {}).items():
            of_key.setdefault(key, set()).add(stream)
        snapshot = self._store.open(table)
        if snapshot.n_rows:
            for key, streams in sorted(of_key.items()):
                for batch in snapshot.batches(names, key, frozenset(streams)):
                    if batch.num_rows:
                        yield pa.Table.from_batches([batch])

    def _objects(self) -> ObjectCounts:
        n = len(self.keys)
        counts = np.full(n, -1, np.int32)
        nothing = ObjectCounts(counts, (), np.empty(0, np.uint32), np.empty(0, np.uint16))
        if not self.has_objects:
            return nothing
        for name in ("annotated", "propagated", "reviewed_frames"):
            frames = self.view.lazy(name).select(schemas.FRAME_KEY).collect().to_arrow()
            place = places(self.keys, frames)
            counts[place[place >= 0]] = 0
        grouped = self.view.lazy("objects").group_by(*schemas.FRAME_KEY, "category").len().collect()
        place = places(self.keys, grouped.select(schemas.FRAME_KEY).to_arrow())
        grouped = grouped.with_columns(row=pl.Series(place)).filter(pl.col("row") >= 0).sort("row", "category")
        names = tuple(sorted(grouped["category"].unique().to_list()))
        codes = {name: code for code, name in enumerate(names)}
        rows = grouped["row"].to_numpy()
        counts[np.unique(rows)] = 0
        np.add.at(counts, rows, grouped["len"].to_numpy().astype(np.int32))
        categories = np.array([codes[name] for name in grouped["category"].to_list()], np.uint16)
        return ObjectCounts(counts, names, rows.astype(np.uint32), categories)


def free_unused() -> None:
    """Give memory back that readers of tables keep for the next time: more than all columns, after a large table."""
    pa.default_memory_pool().release_unused()
    if _TRIM is not None:
        _TRIM(0)


def _trim_of_libc() -> Callable[[int], int] | None:
    """Return what gives back memory that was freed, where the C library has it (malloc_trim(3))."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


_TRIM = _trim_of_libc()


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    arrays: Mapping[str, Any] = getattr(value, "__dict__", {})
    return sum(array.nbytes for array in arrays.values() if isinstance(array, np.ndarray))
