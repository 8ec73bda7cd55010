"""A few of the frames of a block with the objects found on them, for people who watch a run: in its journal alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa

import schemas

MOST_FRAMES = 4
MOST_OBJECTS = 50
"""Objects of a frame, those of the highest scores."""

_BOX = tuple(f"bbox_{edge}" for edge in "xywh")
_OF_OBJECT = ("category", "score", *_BOX)


def objects_seen(rows: Mapping[str, pa.Table]) -> str | None:
    """Return a sample of the frames of a block as JSON, None where its rows are not of objects with boxes.

    The last frames on which something was found, in order; where nothing was, the last frame. `rows` are those of the
    block by table. Boxes are x, y, width, height in pixels.
    """
    for frames, table in schemas.OBJECTS_OF.items():
        found = rows.get(table.name)
        if frames in rows and set(_OF_OBJECT) <= set(table.arrow_schema.names):
            return json.dumps(_sample(rows[frames], found)) if rows[frames].num_rows else None
    return None


def _sample(frames: pa.Table, objects: pa.Table | None) -> list[dict[str, Any]]:
    key = list(schemas.FRAME_KEY)
    if objects is None or not objects.num_rows:
        last = pl.DataFrame(frames.select(key)).sort(key).tail(1)
        return [{**row, "objects": []} for row in last.to_dicts()]
    known = pl.DataFrame(objects.select([*key, *_OF_OBJECT]))
    chosen = known.select(key).unique().sort(key).tail(MOST_FRAMES)
    best = known.join(chosen, on=key).sort("score", descending=True, nulls_last=True)
    sample = []
    for row in chosen.to_dicts():
        mine = best.filter(*(pl.col(name) == row[name] for name in key)).head(MOST_OBJECTS)
        sample.append({**row, "objects": [_object(each) for each in mine.to_dicts()]})
    return sample


def _object(row: Mapping[str, Any]) -> dict[str, Any]:
    score = None if row["score"] is None else round(row["score"], 3)
    return {"category": row["category"], "score": score, "bbox": [round(row[edge], 1) for edge in _BOX]}
