"""Plan of the pixel pass: listing against live rows, in windows, so that memory does not grow with finished work.

A frame is done under a stage key when a live row has its current input id. Where a file's size and mtime are those
that an earlier run saw, its content is known without reading it; elsewhere the bytes decide, in the pixel pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf.stages import STAGES
from jobs.core.stage import Stage
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.file_pruning import Span
from jobs.storage.store import Snapshot, Store
from jobs.storage.stream_batches import WINDOW, packed
from transforms.core.frame_spans import FrameSpans
from transforms.core.identity import Int64Array, pair_ids, row_terms
from transforms.frames.numbering import follows, spans
from transforms.frames.pixel_block import KNOWN, block_schema, have

_FRAMES = schemas.FRAMES.written_by
_OF_PAIRS = frozenset(spec.name for spec in STAGES if spec.of_pairs)
_LISTED = ["uri", "t_ns", "time_source"]

BoolArray = npt.NDArray[np.bool_]


class Listed(NamedTuple):
    """A stream to plan for: its id, the step between following frames, and its listing in order of number.

    `files` is the stream as it is on disk; None takes what the workspace last saw of it. `within`: frames to take.
    """

    stream_id: str
    step: int
    n_frames: int
    files: StreamFiles | None = None
    within: FrameSpans | None = None

    @classmethod
    def of(cls, files: StreamFiles, within: FrameSpans | None = None) -> Listed:
        """Return a catalogued stream for planning."""
        return cls(files.stream_id, files.step, files.n_frames, files, within)


@dataclass
class StagePlan:
    """How a per-frame stage stands, for one stream.

    `missing` frames have no row, `outdated` ones a row from another input, `unread` ones changed on disk (or stand
    after one that did), so that only their bytes can tell. `gone` rows have no frame. `digest` identifies all rows.
    """

    n_frames: int = 0
    missing: int = 0
    outdated: int = 0
    unread: int = 0
    gone: int = 0
    digest: int = 0

    @property
    def open(self) -> int:
        """Return how many frames the pixel pass has to read."""
        return self.missing + self.outdated + self.unread


@dataclass
class PixelPlan:
    """How the pixel stages of a run stand: counts per stage and stream, and the rows whose frames are missing."""

    counts: dict[tuple[str, str], StagePlan] = field(default_factory=dict)
    gone: dict[str, list[pa.Table]] = field(default_factory=dict)
    n_open: int = 0

    def of(self, stage: str, stream_id: str) -> StagePlan:
        """Return the counts of a stage for a stream."""
        return self.counts.setdefault((stage, stream_id), StagePlan())

    def stage_total(self, stage: str) -> StagePlan:
        """Return the counts of a stage over all streams; digests are of streams only."""
        total = StagePlan()
        for (name, _), one in self.counts.items():
            if name == stage:
                total.n_frames += one.n_frames
                total.missing += one.missing
                total.outdated += one.outdated
                total.unread += one.unread
                total.gone += one.gone
        return total


class _Window(NamedTuple):
    """Part of the frames: whole small streams, or a span of numbers of one large stream.

    Arrays have one entry per frame, sorted by stream and number; `stream` are positions into `names`. The first
    `n_halo` frames (0 or 1) belong to the window before and are here as predecessors only.
    """

    names: list[str]
    span: Span
    stream: Int64Array
    frame_idx: Int64Array
    stat_id: Int64Array
    follows: BoolArray
    listed: pa.Table
    n_halo: int


class Planner:
    """Compares the listing of streams with the live rows of the pixel stages of one pipeline.

    With `recompute`, all frames are to be read, and none counts as done by that stage. With `reread`, no
    file is taken for the one that was measured because its size and mtime say so.
    """

    def __init__(
        self,
        store: Store,
        stages: Sequence[Stage],
        streams: Sequence[Listed],
        listing: Snapshot | None = None,
        recompute: str | None = None,
        reread: bool = False,
    ) -> None:
        self._reread = reread
        self._recompute = recompute
        self._stages = [s for s in stages if s.kind == "pixels"]
        self._measured = tuple(s.name for s in self._stages if s.name != _FRAMES)
        self._schema = block_schema(self._measured)
        self._streams = streams
        self._within = {s.stream_id: s.within for s in streams if s.within is not None}
        self._live: dict[str, Snapshot] = {s.name: store.open(s.table) for s in self._stages}
        self._listing = listing or store.open(schemas.LISTING)
        self._held: list[pa.Table] | None = None

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """Return the versions that the plan was made from, by table."""
        return {stage.table.name: self._live[stage.name] for stage in self._stages}

    def survey(self, check: Callable[[], None] = lambda: None) -> PixelPlan:
        """Count what there is to do; `check` is called every now and then, and may end it by what it raises."""
        plan = PixelPlan()
        held: list[pa.Table] | None = []
        for rows in self._scan(plan):
            check()
            if held is not None and rows.num_rows:
                held.append(rows)
                # A short list is worth keeping, so that small runs look only once.
                held = held if sum(t.num_rows for t in held) <= WINDOW else None
        self._held = held
        return plan

    def todo(self) -> Iterator[pa.Table]:
        """Yield the frames to read, as blocks yet to be numbered and cut.

        Each table has the columns of `block_schema`, with `block` holding 0; predecessors come before their frames.
        """
        found = self._scan(PixelPlan()) if self._held is None else self._held
        yield from (rows for rows in found if rows.num_rows)

    def _scan(self, plan: PixelPlan) -> Iterator[pa.Table]:
        """Yield what there is to do of each window, which may be nothing."""
        for window in self._windows():
            rows = self._compare(window, plan)
            plan.n_open += pc.sum(rows["wanted"]).as_py() or 0
            yield rows

    def _windows(self) -> Iterator[_Window]:
        for streams in packed(self._streams, lambda stream: stream.n_frames, WINDOW):
            if len(streams) == 1 and streams[0].n_frames > WINDOW:
                yield from self._spans(streams[0])
            else:
                yield self._whole(streams)

    def _rows_of(self, streams: Sequence[Listed], span: Span) -> pa.Table:
        """Return stream_id, frame_idx, stat_id, uri and time of these streams' frames, sorted."""
        columns = ["stream_id", "frame_idx", "stat_id", *_LISTED]
        absent = frozenset(s.stream_id for s in streams if s.files is None)
        tables = [s.files.listing(span).select(columns) for s in streams if s.files is not None]
        if absent:
            tables.append(self._listing.read(columns, streams=absent, span=span))
        return pa.concat_tables(tables).sort_by([("stream_id", "ascending"), ("frame_idx", "ascending")])

    def _whole(self, streams: Sequence[Listed]) -> _Window:
        rows = self._rows_of(streams, (None, None))
        step = {s.stream_id: s.step for s in streams}
        codes = rows["stream_id"].combine_chunks().dictionary_encode()
        names = codes.dictionary.to_pylist()
        stream, index = codes.indices.to_numpy().astype(np.int64), rows["frame_idx"].to_numpy()
        after = np.zeros(len(index), np.bool_)
        near = np.diff(index) <= np.array([step[n] for n in names], np.int64)[stream[1:]]
        after[1:] = near & (stream[1:] == stream[:-1])
        empty = [s.stream_id for s in streams if s.stream_id not in names]
        return _Window(
            names + empty, (None, None), stream, index, rows["stat_id"].to_numpy(), after, rows.select(_LISTED), 0
        )

    def _spans(self, stream: Listed) -> Iterator[_Window]:
        """Cut a large stream by frame number; spans reach to infinity, so that no stray row escapes."""
        if stream.files is not None:
            numbers = stream.files.frame_idx
        else:
            listed = self._listing.read(["frame_idx"], streams=frozenset([stream.stream_id]))
            numbers = np.sort(listed["frame_idx"].to_numpy())
        last: pa.Table | None = None
        for span in spans(numbers, WINDOW):
            own = self._rows_of([stream], span)
            rows = own if last is None else pa.concat_tables([last, own])
            index = rows["frame_idx"].to_numpy()
            yield _Window(
                [stream.stream_id],
                span,
                np.zeros(len(index), np.int64),
                index,
                rows["stat_id"].to_numpy(),
                follows(index, stream.step),
                rows.select(_LISTED),
                0 if last is None else 1,
            )
            last = own.slice(own.num_rows - 1)

    def _compare(self, window: _Window, plan: PixelPlan) -> pa.Table:
        live = {stage.name: self._live_rows(stage, window) for stage in self._stages}
        frames = live[_FRAMES]
        n = len(window.frame_idx)
        own = (np.arange(n) >= window.n_halo) & self._inside(window)
        trusted = frames.present & (frames.stat_id == window.stat_id) & (not self._reread)
        content = np.where(trusted, frames.input_id, 0)
        wanted = own & ~trusted
        self._count(plan, _FRAMES, window, live[_FRAMES], own, own & ~frames.present, own & frames.present & ~trusted)
        for name in self._measured:
            rows = live[name]
            expected, known = content, trusted
            if name in _OF_PAIRS:
                before = np.roll(content, 1)
                expected = pair_ids(content, before, window.follows)
                known = trusted & (~window.follows | np.roll(trusted, 1))
            absent = own & ~rows.present
            outdated = own & known & rows.present & (rows.input_id != expected)
            wanted |= absent | outdated | (own & ~known)
            self._count(plan, name, window, rows, own, absent, own & rows.present & ~known, outdated)
        if self._recompute:
            wanted = own
        for stage in self._stages:
            if live[stage.name].gone is not None:
                plan.gone.setdefault(stage.table.name, []).append(live[stage.name].gone)
        return self._block_rows(window, live, trusted, wanted)

    def _inside(self, window: _Window) -> BoolArray:
        """Return which frames the run is to take, of those that there are."""
        inside = np.ones(len(window.frame_idx), np.bool_)
        for at, name in enumerate(window.names):
            if (within := self._within.get(name)) is not None:
                mine = window.stream == at
                inside[mine] = within.holds(window.frame_idx[mine])
        return inside

    def _count(
        self,
        plan: PixelPlan,
        stage: str,
        window: _Window,
        rows: _LiveRows,
        own: BoolArray,
        absent: BoolArray,
        unread: BoolArray,
        outdated: BoolArray | None = None,
    ) -> None:
        n = len(window.names)
        none = np.zeros_like(own)
        masks = (own, absent, unread, outdated if outdated is not None else none)
        totals = np.stack([np.bincount(window.stream[mask], minlength=n) for mask in masks], axis=1)
        gone = rows.n_gone(window.names)
        digest = np.zeros(n, np.uint64)
        # It is of all rows of a stream, whichever frames a run takes.
        there = (np.arange(len(window.frame_idx)) >= window.n_halo) & rows.present
        np.add.at(digest, window.stream[there], row_terms(window.frame_idx[there], rows.input_id[there]))
        for at, name in enumerate(window.names):
            counts = plan.of(stage, name)
            counts.n_frames += int(totals[at, 0])
            counts.missing += int(totals[at, 1])
            counts.unread += int(totals[at, 2])
            counts.outdated += int(totals[at, 3])
            counts.gone += int(gone[at])
            counts.digest = (counts.digest + int(digest[at])) % 2**64

    def _live_rows(self, stage: Stage, window: _Window) -> _LiveRows:
        low = window.span[0]
        if window.n_halo and low is not None:
            low = int(window.frame_idx[0])
        columns = ["stream_id", "frame_idx", "input_id", *(["stat_id"] if stage.name == _FRAMES else [])]
        found = self._live[stage.name].read(columns, stage.key, frozenset(window.names), (low, window.span[1]))
        return _LiveRows.aligned(found, window)

    def _block_rows(
        self, window: _Window, live: Mapping[str, _LiveRows], trusted: BoolArray, wanted: BoolArray
    ) -> pa.Table:
        at = np.flatnonzero(wanted)
        halo = np.setdiff1d(at[window.follows[at]] - 1, at, assume_unique=True) if _OF_PAIRS & live.keys() else at[:0]
        rows = np.sort(np.concatenate([at, halo]))
        if not len(rows):
            return self._schema.empty_table()
        follow = np.zeros(len(rows), np.bool_)
        follow[1:] = window.follows[rows[1:]] & (np.diff(rows) == 1)
        columns = {
            "block": np.zeros(len(rows), np.int64),
            "stream_id": pa.array(window.names).take(pa.array(window.stream[rows])),
            "frame_idx": window.frame_idx[rows],
            **{name: window.listed[name].take(pa.array(rows)) for name in _LISTED},
            "trusted_id": pa.array(live[_FRAMES].input_id[rows], mask=~trusted[rows]),
            "known": self._known(window, rows, wanted & live[_FRAMES].present & ~trusted),
            "follows": follow,
            "wanted": wanted[rows],
            "share": np.zeros(len(rows), np.int8),
        }
        for name in self._measured:
            columns[have(name)] = pa.array(live[name].input_id[rows], mask=~live[name].present[rows])
        columns |= self._undone(live, rows) if self._recompute else {}
        return pa.table(columns, schema=self._schema)

    def _undone(self, live: Mapping[str, _LiveRows], rows: Int64Array) -> dict[str, pa.Array]:
        """Return the columns that say that no frame is done by the stage that is to be recomputed."""
        if self._recompute == _FRAMES:
            return {"trusted_id": pa.nulls(len(rows), pa.int64()), "known": pa.nulls(len(rows), KNOWN)}
        done = live[str(self._recompute)]
        # There is a row, to be replaced, and it is of no content that there could be.
        return {have(str(self._recompute)): pa.array(~done.input_id[rows], mask=~done.present[rows])}

    def _known(self, window: _Window, rows: Int64Array, changed: BoolArray) -> pa.Array:
        """Return what the `frames` table has on files that have changed since, null elsewhere."""
        if not changed[rows].any():
            return pa.nulls(len(rows), KNOWN)
        stage = next(s for s in self._stages if s.name == _FRAMES)
        names = [f.name for f in KNOWN]
        columns = ["stream_id", "frame_idx", *names]
        found = self._live[_FRAMES].read(columns, stage.key, frozenset(window.names), window.span)
        place = _positions(found, window)
        at = np.full(len(window.frame_idx), -1)
        at[place[place >= 0]] = np.flatnonzero(place >= 0)
        at = np.where(changed, at, -1)[rows]
        values = pa.StructArray.from_arrays([found[n].combine_chunks() for n in names], fields=list(KNOWN))
        return values.take(pa.array(at, mask=at < 0))


def _positions(found: pa.Table, window: _Window) -> Int64Array:
    """Return where in the window each row's frame is, or -1, shape (M,)."""
    order = {name: at for at, name in enumerate(window.names)}
    codes = found["stream_id"].combine_chunks().dictionary_encode()
    stream = np.array([order[name] for name in codes.dictionary.to_pylist()], np.int64)[codes.indices.to_numpy()]
    # Rows of finished frames are as many, and in this order, where tables have been compacted.
    if np.array_equal(found["frame_idx"].to_numpy(), window.frame_idx) and np.array_equal(stream, window.stream):
        return np.arange(len(stream))
    listed = pl.DataFrame({"s": window.stream, "i": window.frame_idx}).with_row_index("at")
    wanted = pl.DataFrame({"s": stream, "i": found["frame_idx"].to_numpy()})
    joined = wanted.join(listed, on=("s", "i"), how="left", maintain_order="left")
    return joined["at"].cast(pl.Int64).fill_null(-1).to_numpy()


@dataclass(frozen=True)
class _LiveRows:
    """The live rows of a stage, aligned with the frames of a window; `gone` are keys of rows without a frame."""

    present: BoolArray
    input_id: Int64Array
    stat_id: Int64Array
    gone: pa.Table | None

    @classmethod
    def aligned(cls, found: pa.Table, window: _Window) -> _LiveRows:
        n = len(window.frame_idx)
        present, input_id, stat_id = np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64)
        place = _positions(found, window)
        hit = place >= 0
        present[place[hit]] = True
        input_id[place[hit]] = found["input_id"].to_numpy()[hit]
        if "stat_id" in found.column_names:
            stat_id[place[hit]] = found["stat_id"].to_numpy()[hit]
        # What is between the halo frame and this window was the window before's to report.
        low = window.span[0]
        stray = ~hit if low is None else ~hit & (found["frame_idx"].to_numpy() >= low)
        gone = found.select(schemas.FRAME_KEY).filter(pa.array(stray)) if stray.any() else None
        return cls(present, input_id, stat_id, gone)

    def n_gone(self, names: Sequence[str]) -> Int64Array:
        """Return how many rows without a frame each of these streams has."""
        if self.gone is None:
            return np.zeros(len(names), np.int64)
        counts = {c["values"]: c["counts"] for c in pc.value_counts(self.gone["stream_id"]).to_pylist()}
        return np.array([counts.get(name, 0) for name in names], np.int64)
