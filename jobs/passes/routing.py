"""Scores how doubtful the annotated frames of a run are, and says who is to look at them next."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.stage import Stage
from jobs.storage.store import Store
from transforms.doubt import DOUBTS, OBJECT_COLUMNS, doubts_of, routed

_COLUMNS = (*schemas.FRAME_KEY, "uncertainty", *DOUBTS, "doubts", "route")


def route_frames(store: Store, stage: Stage, streams: Sequence[str], config: PipelineConfig) -> pa.Table:
    """Return rows of `routing`, without keys of stage and input, for all annotated frames of some streams.

    The streams are all of the run's, since they share its budgets; one is looked at after the other. `stage` reads the
    stage of the annotations, and after it that of a second detector, if there is one.
    """
    steps = dict(pl.DataFrame(store.read(schemas.STREAMS, ("stream_id", "step"))).iter_rows())
    annotated = store.open(schemas.ANNOTATED)
    annotations = store.open(schemas.ANNOTATIONS)
    found = []
    for stream in sorted(streams):
        alone = frozenset([stream])
        numbers = annotated.read(("frame_idx",), stage.upstream[0].key, alone).sort_by("frame_idx")
        objects = [pl.DataFrame(annotations.read(OBJECT_COLUMNS, above.key, alone)) for above in stage.upstream]
        doubts = doubts_of(
            numbers["frame_idx"].to_pylist(),
            steps.get(stream, 1),
            objects[0],
            objects[1] if len(objects) > 1 else None,
            config.route,
            config.annotate.min_score,
        )
        found.append(doubts.with_columns(stream_id=pl.lit(stream)))
    rows = routed(pl.concat(found), config.route).select(_COLUMNS)
    fields = [schemas.ROUTING.arrow_schema.field(name) for name in _COLUMNS]
    return rows.to_arrow().cast(pa.schema(fields))
