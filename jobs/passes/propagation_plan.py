"""Plan of propagation: frames after an annotated one, without annotations of their own, compared with live rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.passes.context_frames import in_runs
from jobs.passes.model_plan import ModelPlan, ModelPlanner, request, rows_of
from jobs.passes.object_prompts import OBJECT_COLUMNS, with_objects
from jobs.storage.file_pruning import Span
from jobs.storage.store import Store
from schemas import FRAME_KEY
from transforms.core.frame_spans import FrameSpans
from transforms.core.identity import mix, row_terms


class PropagationPlanner(ModelPlanner):
    """Compares the frames that objects can be carried to with the live rows of the stage that carries them.

    A sequence of frames begins with one that was annotated, as the rule of its stage chooses them now, and ends before
    the next of these, at a cut, at a gap, and after `stage.context` frames. Those after its first are wanted if there
    was anything on that one. They are handed out with all that come before them in their sequence.
    """

    def __init__(
        self,
        store: Store,
        stage: Stage,
        stages: Mapping[str, Stage],
        streams: Sequence[str],
        recompute: bool = False,
        within: Mapping[str, FrameSpans] | None = None,
    ) -> None:
        super().__init__(store, stage, stages, streams, recompute, within=within)
        self._annotate, self._scenes = stage.upstream[:2]
        self._annotated = store.open(self._annotate.table)
        self._objects_found = store.open(schemas.ANNOTATIONS)
        self._starts = store.open(self._scenes.table)

    def _compare(self, streams: frozenset[str], span: Span, plan: ModelPlan) -> pa.Table:
        reach = self._reached(span)
        read = in_runs(self._decodable(streams, reach), self._steps)
        keys = rows_of(self._annotated, FRAME_KEY, self._annotate, streams, reach)
        if (chosen := self._routing.chosen(self._annotate, streams, reach)) is not None:
            keys = keys.join(chosen, on=FRAME_KEY, how="semi")
        found = rows_of(self._objects_found, OBJECT_COLUMNS, self._annotate, streams, reach)
        starts = rows_of(self._starts, ("stream_id", "start_idx"), self._scenes, streams, (None, None))
        read = in_stretches(read, keys, found, starts, self._stage.context)
        frames = read if span[0] is None else read.filter(pl.col("frame_idx") >= span[0])
        plan.frames += frames.height
        undone = self._undone(frames.drop_nulls("window_id"), "window_id", streams, span, plan)
        return request(with_stretches(read, undone))


def in_stretches(
    frames: pl.DataFrame, keys: pl.DataFrame, found: pl.DataFrame, starts: pl.DataFrame, reach: int
) -> pl.DataFrame:
    """Return frames with the sequences that they are in; they come in order, with `input_id` and `follows`.

    `keys` are those that were annotated, `found` the objects on them, `starts` the first frames of scenes. `stretch`
    numbers the sequences; `follows` is false on the first frame of each, which has its `objects` unless there were
    none. `window_id` is that of the frames that these can be carried to, made of the images from the first on, and
    of the objects; null for all others.
    """
    scene = frames.select(FRAME_KEY).join_asof(
        starts.sort("start_idx"),
        left_on="frame_idx",
        right_on="start_idx",
        by="stream_id",
        check_sortedness=False,
    )["start_idx"]
    place = np.arange(frames.height)
    origins = with_objects(frames.join(keys, on=FRAME_KEY, how="semi", maintain_order="left"), found)
    marked = frames.join(keys.select(*FRAME_KEY, is_key=True), on=FRAME_KEY, how="left", maintain_order="left").join(
        origins.select(*FRAME_KEY, "objects", "window_id"), on=FRAME_KEY, how="left", maintain_order="left"
    )
    same = frames["follows"].to_numpy() & scene.eq_missing(scene.shift(1)).fill_null(False).to_numpy()
    begins = ~same | marked["is_key"].fill_null(False).to_numpy()
    first = np.maximum.accumulate(np.where(begins, place, 0)) if len(place) else place
    of_origin = marked["window_id"].fill_null(0).to_numpy().view(np.uint64)[first]
    carried = marked["objects"].is_not_null().to_numpy()[first] & (place > first) & (place - first <= reach)
    terms = row_terms(frames["frame_idx"].to_numpy(), frames["input_id"].to_numpy())
    total = np.cumsum(terms, dtype=np.uint64)
    ids = mix((total - total[first]) ^ mix(of_origin)).view(np.int64)
    return marked.drop("is_key").with_columns(
        follows=pl.Series(~begins),
        stretch=pl.Series(first, dtype=pl.Int64),
        window_id=pl.when(pl.Series(carried)).then(pl.Series(ids)),
    )


def with_stretches(frames: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return the wanted frames and all that come before one of them in its sequence, in order."""
    last = wanted.group_by("stretch").agg(last=pl.col("frame_idx").max())
    near = frames.join(last, on="stretch", how="inner", maintain_order="left").filter(
        pl.col("frame_idx") <= pl.col("last")
    )
    marked = near.join(wanted.select(*FRAME_KEY, "replaces", "wanted"), on=FRAME_KEY, how="left", maintain_order="left")
    return marked.with_columns(pl.col("replaces").fill_null(False), pl.col("wanted").fill_null(False))
