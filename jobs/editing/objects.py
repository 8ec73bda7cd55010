"""An object as people edit it: from rows of the tables, and back to rows of `reviews`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from jobs.core.optional_packages import require
from transforms.formats.exports.objects import attributes_of, outlines_of
from transforms.formats.outlines import encoded, filled

Body = dict[str, Any]
"""An object as it is stored: the fields of `FIELDS`, and `original`, what a correction has changed."""

GEOMETRY = ("bbox", "rotation", "polygons", "rle")
EDITABLE = ("category", *GEOMETRY, "track_id", "keyframe", "text", "is_crowd", "attributes")
FIELDS = (*EDITABLE, "score", "source", "model", "weights_hash", "origin", "author", "checked_by")
"""Fields of an object. `origin`: `model`, `import` or `person`; `author`: who drew or corrected it, None for nobody."""

DRAWN = "review"
"""The `source` of what a person has drawn."""

_IMPORT = "import:"
_EDGES = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_MOST_POINTS = 20_000


def of_row(row: Mapping[str, Any]) -> Body:
    """Return an object from a row of `objects_by_models`, or of `reviews` but for those `seen`."""
    source = row["source"] or ""
    decision = row.get("decision")
    author = row.get("author") if decision in {"approve", "correct", "add"} else None
    is_drawn = decision == "add" or (author is not None and decision == "approve" and source == DRAWN)
    origin = "person" if is_drawn else "import" if source.startswith(_IMPORT) else "model"
    return {
        "category": row["category"],
        "bbox": [float(row[name] or 0.0) for name in _EDGES],
        "rotation": float(row.get("rotation") or 0.0),
        "polygons": [[float(v) for v in ring] for ring in row.get("polygons") or ()] or None,
        "rle": row["mask_rle"],
        "track_id": row["track_id"],
        "keyframe": None,
        "text": row["text"],
        "is_crowd": bool(row.get("is_crowd")),
        "attributes": attributes_of(row),
        "score": None if row["score"] is None else float(row["score"]),
        "source": row["source"],
        "model": row["model"],
        "weights_hash": row["weights_hash"],
        "origin": origin,
        "author": author,
        "checked_by": None,
    }


def drawn(fields: Mapping[str, Any], author: str) -> Body:
    """Return an object that a person has drawn, of fields in `EDITABLE`."""
    nothing: Body = {"rotation": 0.0, "polygons": None, "rle": None, "is_crowd": False, "attributes": {}}
    return {
        **dict.fromkeys(FIELDS),
        **nothing,
        **fields,
        "score": 1.0,
        "source": DRAWN,
        "model": author,
        "origin": "person",
        "author": author,
    }


def corrected(body: Body, changes: Mapping[str, Any], author: str) -> Body:
    """Return an object with some of its fields changed by a person.

    What a model found stays known as `original`, so that taking a correction back leaves the object as it was found.
    """
    after = {**body, **changes}
    original = dict(body.get("original") or {"author": body["author"]})
    for name in changes:
        original.setdefault(name, body[name])
    same = [name for name in original if name != "author" and after[name] == original[name]]
    for name in same:
        del original[name]
    is_as_found = original.keys() == {"author"}
    after["author"] = original["author"] if is_as_found else author
    after.pop("original", None)
    if not is_as_found:
        after["original"] = original
    return after


def decision_row(object_id: str, body: Body, is_deleted: bool, size: tuple[int, int]) -> dict[str, Any] | None:
    """Return the decision on an object, as `frame_rows` takes it; None for what a person drew and deleted.

    `size`: width and height of the frame in pixels, by which polygons become masks.
    """
    is_drawn = body["origin"] == "person"
    if is_deleted and is_drawn:
        return None
    is_changed = body["author"] is not None
    if is_deleted:
        decision = "reject"
    elif is_drawn:
        decision = "add"
    else:
        decision = "correct" if is_changed else "approve"
    by_hand = {"score": 1.0, "source": DRAWN} if decision == "correct" else {}
    mask = body["rle"]
    if mask is None and body["polygons"]:
        mask = mask_of_polygons(body["polygons"], size)
    return {
        "annotation_id": object_id,
        "decision": decision,
        "category": body["category"],
        "score": body["score"],
        **dict(zip(_EDGES, body["bbox"], strict=True)),
        "mask_rle": mask,
        "track_id": body["track_id"],
        "text": body["text"],
        "source": body["source"],
        "model": body["model"],
        "weights_hash": body["weights_hash"],
        "rotation": body["rotation"] or None,
        "polygons": body["polygons"],
        "is_crowd": body["is_crowd"] or None,
        "attributes": json.dumps(body["attributes"], sort_keys=True, ensure_ascii=False)
        if body["attributes"]
        else None,
        "author": None if is_deleted else body["author"],
        **by_hand,
    }


def mask_of_polygons(polygons: list[list[float]], size: tuple[int, int]) -> str:
    """Return the pixels inside polygons as COCO's compressed run lengths; `size` is width and height in pixels."""
    require("annotate", "pycocotools")
    return encoded(filled([np.reshape(ring, (-1, 2)) for ring in polygons], *size))


def public(object_id: str, body: Body, revision: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return an object as the API has it; masks come with their outlines, as far as these have few points."""
    polygons = body["polygons"]
    if polygons is None and body["rle"] is not None:
        lines = outlines_of({"mask_rle": body["rle"]}, *size)
        polygons = [[float(v) for v in ring.ravel()] for ring in (*lines.parts, *lines.holes)]
        if sum(map(len, polygons)) > 2 * _MOST_POINTS:
            polygons = None
    shown = {name: body[name] for name in FIELDS if name != "weights_hash"}
    return {"object_id": object_id, **shown, "polygons": polygons, "revision": revision}
