"""Plan of a model pass: the frames that are wanted, compared with the live rows of the stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.passes.context_frames import in_runs, window_ids, with_those_before
from jobs.passes.frame_rules import Chooser
from jobs.passes.object_prompts import OBJECT_COLUMNS, REGION_COLUMNS, with_objects, with_regions
from jobs.storage.file_pruning import Span
from jobs.storage.store import Snapshot, Store
from jobs.storage.stream_batches import portions, stream_sizes
from schemas import FRAME_KEY
from transforms.core.frame_spans import FrameSpans
from transforms.models.inference import REQUEST


@dataclass
class ModelPlan:
    """How a model stage stands, in frames.

    Of the `frames` that decode some are `wanted`; of these, `missing` have no row and `outdated` ones one from another
    input; `gone` are the keys of rows whose frame is not there any more.
    """

    frames: int = 0
    wanted: int = 0
    missing: int = 0
    outdated: int = 0
    gone: list[pa.Table] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Return how many frames the model has to process."""
        return self.missing + self.outdated

    @property
    def n_gone(self) -> int:
        """Return how many rows are to be deleted."""
        return sum(keys.num_rows for keys in self.gone)


class ModelPlanner:
    """Compares the decodable frames of some streams with the live rows of a model stage.

    `stages` are those of the run; where the stage has a rule, only what that chooses is wanted. Rows of other frames
    stay where they are, in case they are wanted later, and readers leave them out. With `objects`, the stage that finds
    them, frames that have any are wanted, and these come along. With `recompute` no frame counts as done. `within` has
    the frames of each stream that the run is to take, where these are not all.
    """

    def __init__(
        self,
        store: Store,
        stage: Stage,
        stages: Mapping[str, Stage],
        streams: Sequence[str],
        recompute: bool = False,
        objects: Stage | None = None,
        regions: Stage | None = None,
        within: Mapping[str, FrameSpans] | None = None,
    ) -> None:
        self._store = store
        self._within = within or {}
        self._stage = stage
        self._frames = stages[schemas.FRAMES.written_by]
        self._routing = Chooser(store, stages)
        self._streams = frozenset(streams)
        self._recompute = recompute
        self._objects = objects
        self._found = store.open(schemas.ANNOTATIONS) if objects else None
        self._regions = regions
        self._marked = store.open(schemas.REGIONS) if regions else None
        self.snapshot = store.open(stage.table)
        self._images = store.open(self._frames.table)
        listed = store.read(schemas.STREAMS, ("stream_id", "step"), as_seen=True)
        self._steps = pl.DataFrame(listed).filter(pl.col("stream_id").is_in(sorted(self._streams)))
        # Number of frames before a frame that its row may depend on.
        self._reach = stage.context * int(str(self._steps["step"].max() or 1))

    def survey(self) -> ModelPlan:
        """Count what there is to do."""
        plan = ModelPlan()
        for _ in self._scan(plan):
            pass
        return plan

    def todo(self) -> Iterator[pa.Table]:
        """Yield the frames to show, in order, as tables of schema `REQUEST` with `block` 0."""
        yield from self._scan(ModelPlan())

    def open_frames(self) -> set[tuple[str, int]]:
        """Return the frames that the model has still to process, as (stream, number)."""
        found: set[tuple[str, int]] = set()
        for rows in self.todo():
            own = pl.DataFrame(rows.select([*FRAME_KEY, "wanted"])).filter("wanted").select(FRAME_KEY)
            found.update(own.iter_rows())
        return found

    def _scan(self, plan: ModelPlan) -> Iterator[pa.Table]:
        sizes = stream_sizes(self._store)
        for streams, span in portions(self._images, self._frames.key, sizes, self._streams):
            rows = self._compare(streams, span, plan)
            if rows.num_rows:
                yield rows

    def _compare(self, streams: frozenset[str], span: Span, plan: ModelPlan) -> pa.Table:
        reach = self._reached(span)
        read = self._decodable(streams, reach)
        context = self._stage.context
        if context:
            read = in_runs(read, self._steps)
            read = read.with_columns(window_id=pl.Series(window_ids(read, context)))
        if self._found is not None and self._objects is not None:
            read = with_objects(read, rows_of(self._found, OBJECT_COLUMNS, self._objects, streams, reach))
        if self._marked is not None and self._regions is not None:
            marked = rows_of(self._marked, REGION_COLUMNS, self._regions, streams, reach)
            work = self._stage.spec.model
            read = with_regions(read, marked, only_lines=work is not None and work.shown == "lines")
        row_id = "window_id" if context or self._objects or self._regions else "input_id"
        frames = read if span[0] is None else read.filter(pl.col("frame_idx") >= span[0])
        plan.frames += frames.height
        rows = self._undone(frames, row_id, streams, span, plan)
        return request(with_those_before(read, rows, context) if context else rows)

    def _reached(self, span: Span) -> Span:
        """Return a span with the frames before it that rows in it may depend on."""
        return (None if span[0] is None else span[0] - self._reach, span[1])

    def _decodable(self, streams: frozenset[str], span: Span) -> pl.DataFrame:
        columns = (*FRAME_KEY, "uri", "input_id", "width", "height", "status")
        return (
            rows_of(self._images, columns, self._frames, streams, span).filter(pl.col("status") == "ok").sort(FRAME_KEY)
        )

    def _undone(
        self, frames: pl.DataFrame, row_id: str, streams: frozenset[str], span: Span, plan: ModelPlan
    ) -> pl.DataFrame:
        """Return the frames that the model has to process, in order, with `replaces` and `wanted`.

        A row is done where it was computed from what the column `row_id` says. All is counted in the plan.
        """
        live = rows_of(self.snapshot, (*FRAME_KEY, "input_id"), self._stage, streams, span)
        gone = live.join(frames, on=FRAME_KEY, how="anti").select(FRAME_KEY)
        if gone.height:
            plan.gone.append(gone.to_arrow())
        chosen = self._routing.chosen(self._stage, streams, span)
        wanted = frames if chosen is None else frames.join(chosen, on=FRAME_KEY, how="semi")
        wanted = inside(wanted, self._within)
        known = live.rename({"input_id": "was"})
        undone = pl.lit(self._recompute) | pl.col("was").ne_missing(pl.col(row_id))
        left = wanted.join(known, on=FRAME_KEY, how="left").filter(undone)
        replaces = pl.col("was").is_not_null()
        n_outdated = left.filter(replaces).height
        plan.wanted += wanted.height
        plan.outdated += n_outdated
        plan.missing += left.height - n_outdated
        return left.sort(FRAME_KEY).with_columns(replaces=replaces, wanted=True)


def inside(frames: pl.DataFrame, within: Mapping[str, FrameSpans]) -> pl.DataFrame:
    """Return the frames, with `stream_id` and `frame_idx`, that a run is to take; all of streams that are not named."""
    if not within:
        return frames
    numbers, streams = frames["frame_idx"].to_numpy(), frames["stream_id"].to_numpy()
    kept = np.ones(len(numbers), np.bool_)
    for name, spans in within.items():
        mine = streams == name
        kept[mine] = spans.holds(numbers[mine])
    return frames.filter(pl.Series(kept))


def request(rows: pl.DataFrame) -> pa.Table:
    """Return frames as a table of schema `REQUEST` with `block` 0; columns without a value are null."""
    nothing = {"window_id": pl.Int64, "follows": pl.Boolean, "objects": pl.Null, "regions": pl.Null}
    rows = rows.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in nothing.items() if name not in rows.columns
    )
    return rows.with_columns(block=pl.lit(0, pl.Int64)).select(REQUEST.names).to_arrow().cast(REQUEST)


def rows_of(
    snapshot: Snapshot, columns: Sequence[str], stage: Stage, streams: frozenset[str], span: Span
) -> pl.DataFrame:
    """Return what a stage has stored of streams and a span of frames."""
    return pl.DataFrame(snapshot.read(columns, stage.key, streams, span))
