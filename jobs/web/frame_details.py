"""All that is known of one frame: values by table, objects, duplicates, and the frames next to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

import schemas
from jobs.views import final_objects
from jobs.views.overridden_verdicts import of_frame
from jobs.web.frame_rows import FrameRows
from jobs.web.frame_table import FrameTable
from jobs.web.plain import number, plain
from jobs.web.project_data import Shown
from jobs.web.reasons_in_words import why
from transforms.formats.exports.objects import outlines_of

_LEFT_OUT = frozenset({"stage_key", "stream_id", "frame_idx", "vector"})
_MOST_MEMBERS = 200
_MOST_POINTS = 20_000
_EMPTY: dict[str, Any] = {}


def frame_detail(shown: Shown, row: int) -> dict[str, Any]:
    """Return what the API says of the frame in a row of the columns."""
    table = shown.frames
    stream, idx = table.keys.frame(row)
    values = _values(table, row)
    rows = table.keys.rows_of(stream)
    size = values.get("frames", _EMPTY)
    by_hand = table.decisions.get(row)
    lines = why(shown, row, values, by_hand)
    if by_hand is not None:
        values["overrides"] = by_hand
        if verdict := values.get("curation"):
            values["curation"] = of_frame(verdict, by_hand["decision"])
    return {
        "stream_id": stream,
        "frame_idx": number(idx),
        "h": table.hashes([row])[0],
        "values": {name: _shown(found) for name, found in values.items()},
        "why": lines,
        "override": None if by_hand is None else {name: by_hand[name] for name in ("decision", "author", "note")},
        "objects": _objects(shown, row, size.get("width") or 0, size.get("height") or 0),
        "duplicates": _duplicates(shown, values.get("duplicates")),
        "previous": number(int(table.keys.numbers[row - 1])) if row > rows.start else None,
        "next": number(int(table.keys.numbers[row + 1])) if row + 1 < rows.stop else None,
    }


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    return {k: plain(v) for k, v in values.items() if k not in _LEFT_OUT and not isinstance(v, bytes)}


def _values(table: FrameTable, row: int) -> dict[str, dict[str, Any]]:
    """Return a frame's row in each table with a row per frame, and the idle interval and the scene that it is in."""
    stream, idx = table.keys.frame(row)
    found = {}
    for each in schemas.ALL:
        if each.per_frame:
            rows = table.stored_rows(each, row).to_pylist()
        elif each.of_intervals:
            rows = table.intervals(each, stream, idx)
        else:
            continue
        if rows:
            found[each.name] = rows[0]
    return found


def _duplicates(shown: Shown, own: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the duplicate group of a frame, the representative first; None for a group of one."""
    if own is None:
        return None
    table = shown.frames
    columns = (*schemas.FRAME_KEY, "is_representative", "hamming", "cosine")
    group = shown.view.lazy(schemas.DUPLICATES.name).filter(pl.col("group_id") == own["group_id"]).select(columns)
    members = (
        group.sort(pl.col("is_representative").not_(), *schemas.FRAME_KEY).head(_MOST_MEMBERS).collect().to_dicts()
    )
    if len(members) < 2:
        return None
    found = []
    for member in members:
        row = table.keys.find(member["stream_id"], member["frame_idx"])
        bits = 0 if row is None else int(table.verdicts.bits[row])
        found.append(
            {
                "stream_id": member["stream_id"],
                "frame_idx": number(member["frame_idx"]),
                "h": None if row is None else table.hashes([row])[0],
                "keep": bool(bits & 1) if bits & 2 else None,
                "hamming": member["hamming"],
                "cosine": plain(member["cosine"]),
            }
        )
    representative = {"stream_id": own["representative_stream"], "frame_idx": number(own["representative_idx"])}
    return {"group_id": own["group_id"], "representative": representative, "members": found}


def _objects(shown: Shown, row: int, width: int, height: int) -> list[dict[str, Any]]:
    if shown.frames.objects.counts[row] <= 0:
        return []
    stream, idx = shown.frames.keys.frame(row)
    if shown.frames.stored_rows(schemas.PROPAGATED, row).num_rows:
        # Their tracks are those of objects on other frames.
        mine = (pl.col("stream_id") == stream) & (pl.col("frame_idx") == idx)
        rows = shown.view.lazy(final_objects.NAME).filter(mine)
    else:
        rows = FrameRows(shown, row).lazy(final_objects.NAME)
    return [_object(each, width, height) for each in rows.sort("annotation_id").collect().to_dicts()]


def _object(each: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    outlines = outlines_of(each, width, height) if width and height else None
    rings = [*outlines.parts, *outlines.holes] if outlines is not None else []
    # Holes are rings, too: filled by the even-odd rule, all together are the mask.
    polygons = [[plain(value) for value in np.round(ring, 2).ravel().tolist()] for ring in rings]
    if sum(len(ring) for ring in polygons) > _MOST_POINTS:
        polygons = []
    return {
        "annotation_id": each["annotation_id"],
        "category": each["category"],
        "score": plain(each["score"]),
        "bbox": [plain(each[f"bbox_{edge}"]) for edge in "xywh"],
        "polygons": polygons,
        "track_id": None if each["track_id"] is None else number(each["track_id"]),
        "source": each["source"],
        "model": each["model"],
        "text": each["text"],
    }
