"""The objects of an export out of the tables, and which models they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from jobs.errors import UserError
from jobs.modelfiles import licence_of
from jobs.query import View
from transforms.exports.objects import Objects, vocabulary

_NAMES = "annotate.names"
_KEY = list(schemas.FRAME_KEY)


def are_known(view: View) -> bool:
    """Say whether a view shows annotations at all, be they none."""
    return schemas.ANNOTATIONS.written_by in view.selection.keys


def objects_of(view: View, frames: pa.Table, min_score: float | None) -> Objects:
    """Return the objects that a view shows on frames, with scores from `min_score` on.

    Their labels are numbered over all that the view shows, whatever is exported of it.
    """
    if not are_known(view):
        return Objects.none()
    annotations = view.lazy("annotations")
    seen = annotations.select(pl.col("category").unique()).collect()["category"].to_list()
    categories = vocabulary(_of_models(view), seen)
    if min_score is not None:
        annotations = annotations.filter(pl.col("score") >= min_score)
    wanted = pl.DataFrame(frames.select(_KEY)).lazy()
    rows = annotations.drop("stage_key", "input_id").join(wanted, on=_KEY, how="semi").collect().to_arrow()
    return Objects.on(frames, rows, categories)


def refuse_without_masks(objects: Objects, format_: str) -> None:
    """Raise `UserError` if there are objects, and none of them has a mask."""
    if objects.rows.num_rows and objects.rows["mask_rle"].null_count == objects.rows.num_rows:
        raise UserError(f"format {format_}: expected masks, found boxes alone; export them with --format yolo")


def models_of(objects: Objects) -> list[dict[str, Any]]:
    """Return what the exported objects were found by: source, model, hash of its weights, and how many."""
    if not objects.rows.num_rows:
        return []
    columns = ["source", "model", "weights_hash"]
    counted = pl.DataFrame(objects.rows.select(columns)).group_by(columns).len("objects").sort(columns)
    return [row | licence_of(row["model"], row["weights_hash"]) for row in counted.to_dicts()]


def nested(frames: pa.Table, objects: Objects) -> pa.Table:
    """Return frames with a column `annotations`: a list of what is on each, empty for nothing."""
    left_out = {"row", *_KEY}
    names = [n for n in objects.rows.column_names if n not in left_out]
    listed = [[{name: each[name] for name in names} for each in objects.of(row)] for row in range(frames.num_rows)]
    kind = pa.list_(pa.struct([objects.rows.schema.field(n) for n in names]))
    return frames.append_column("annotations", pa.array(listed, kind))


def _of_models(view: View) -> Iterator[list[str]]:
    """Yield the lists of categories that the models behind a view can tell apart."""
    keys = sorted(set(view.selection.keys.get(schemas.ANNOTATIONS.written_by, {}).values()))
    params = view.newest("stage_runs").filter(pl.col("stage_key").is_in(keys)).select("params").unique().collect()
    for text in sorted(params["params"].to_list()):
        yield json.loads(text).get(_NAMES) or []
