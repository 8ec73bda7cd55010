"""Scores how doubtful the annotated frames of a run are, and says who is to look at them next."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl
import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.core.stage import Stage
from jobs.storage.store import Store
from schemas import FRAME_KEY
from transforms.assess.uncertainty import DOUBTS, OBJECT_COLUMNS, doubts_of, routed

_PICTURE = (*FRAME_KEY, "content_hash")
_COLUMNS = (*FRAME_KEY, "uncertainty", *DOUBTS, "doubts", "route")


def route_frames(store: Store, stage: Stage, streams: Sequence[str], config: PipelineConfig) -> pa.Table:
    """Return rows of `routing`, without keys of stage and input, for all annotated frames of some streams.

    The streams are all of the run's, since they share its budgets; one is looked at after the other. `stage` reads the
    stage of the annotations, that of a second detector and that of tracks, if there are any, and that of the frames.
    """
    above = {each.name: each for each in stage.upstream}
    steps = dict(pl.DataFrame(store.read(schemas.STREAMS, ("stream_id", "step"))).iter_rows())
    annotated = store.open(schemas.ANNOTATED)
    annotations = store.open(schemas.ANNOTATIONS)
    columns = ("annotation_id", *OBJECT_COLUMNS)
    found = []
    for stream in sorted(streams):
        alone = frozenset([stream])
        numbers = annotated.read(("frame_idx",), above["annotate"].key, alone).sort_by("frame_idx")
        objects = {
            name: pl.DataFrame(annotations.read(columns, above[name].key, alone))
            for name in ("annotate", "second")
            if name in above
        }
        if "track" in above:
            objects["annotate"] = _tracked(store, above["track"], objects["annotate"], alone)
        doubts = doubts_of(
            numbers["frame_idx"].to_pylist(),
            steps.get(stream, 1),
            objects["annotate"],
            objects.get("second"),
            config.route,
            config.annotate.min_score,
        )
        found.append(doubts.with_columns(stream_id=pl.lit(stream)))
    rows = routed(pl.concat(found), _reviewed(store, above["frames"], streams), config.route).select(_COLUMNS)
    fields = [schemas.ROUTING.arrow_schema.field(name) for name in _COLUMNS]
    return rows.to_arrow().cast(pa.schema(fields))


def looked_at(store: Store, streams: Collection[str]) -> pl.DataFrame:
    """Return which pictures of some streams people have looked at, by frame and content, in order."""
    said = pl.DataFrame(store.read(schemas.REVIEWS, (*_PICTURE, "decision")))
    seen = said.filter(pl.col("decision") == "seen", pl.col("stream_id").is_in(list(streams)))
    return seen.select(_PICTURE).unique().sort(_PICTURE)


def _reviewed(store: Store, frames: Stage, streams: Sequence[str]) -> pl.DataFrame:
    """Return the keys of the frames that people have looked at as they are now."""
    seen = looked_at(store, streams)
    if not seen.height:
        return seen.select(FRAME_KEY)
    among = frozenset(seen["stream_id"].to_list())
    shown = pl.DataFrame(store.open(schemas.FRAMES).read(_PICTURE, frames.key, among))
    return shown.join(seen, on=_PICTURE, how="semi").select(FRAME_KEY)


def _tracked(store: Store, track: Stage, objects: pl.DataFrame, streams: frozenset[str]) -> pl.DataFrame:
    """Return objects with the tracks that the stage `track` has found."""
    known = pl.DataFrame(store.open(schemas.TRACKS).read(("annotation_id", "track_id"), track.key, streams))
    return objects.drop("track_id").join(known, on="annotation_id", how="left")
