"""Datumaro JSON export, one file per subset: https://open-edge-platform.github.io/datumaro."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from transforms.formats.exports.objects import Objects, attributes_of, box_of, polygons_of, run_lengths

_IMAGES = "images/"
_MEDIA_IMAGE = 2
_DIGITS = 2
_ATTRIBUTES = ("is_crowd", "rotation", "score", "text", "track_id", "winnow_id")


def datumaro_files(rows: pa.Table, splits: Sequence[str], objects: Objects | None = None) -> dict[str, bytes]:
    """Return one `annotations/SPLIT.json` per split, also for empty splits.

    Images are expected below `images/SPLIT/`, to which their paths are relative. Labels count from 0 in the order of
    the categories, all of which are listed in each file. Frames without annotations are items too. An object with a
    mask becomes a mask, or the polygons of a person, and a box of the same group. A box is turned by its attribute
    `rotation`, degrees clockwise about the centre.
    """
    there = objects or Objects.none()
    own = {name for row in range(rows.num_rows) for each in there.of(row) for name in attributes_of(each)}
    labels = [{"name": name, "parent": "", "attributes": []} for name in there.categories]
    categories = {"label": {"labels": labels, "label_groups": [], "attributes": sorted({*_ATTRIBUTES, *own})}}
    columns = ("file_name", "width", "height", "split", "stream_id", "frame_idx")
    items: dict[str, list[dict[str, Any]]] = {split: [] for split in sorted(splits)}
    number = 0
    for row, frame in enumerate(rows.select(columns).to_pylist()):
        annotations: list[dict[str, Any]] = []
        for each in there.of(row):
            number += 1
            annotations += _annotations(each, number, frame["width"], frame["height"])
        prefix = f"{_IMAGES}{frame['split']}/"
        path = frame["file_name"].removeprefix(prefix)
        items[frame["split"]].append(
            {
                "id": str(PurePosixPath(path).with_suffix("")),
                "annotations": annotations,
                "attr": {"stream_id": frame["stream_id"], "frame": frame["frame_idx"]},
                "image": {"path": path, "size": [frame["height"], frame["width"]]},
            }
        )
    documents = {
        split: {
            "dm_format_version": "1.0",
            "media_type": _MEDIA_IMAGE,
            "infos": {"author": "Winnow"},
            "categories": categories,
            "items": found,
        }
        for split, found in items.items()
    }
    return {
        f"annotations/{split}.json": json.dumps(document, separators=(",", ":")).encode() + b"\n"
        for split, document in documents.items()
    }


def _annotations(each: dict[str, Any], number: int, width: int, height: int) -> list[dict[str, Any]]:
    said = {"score": round(each["score"], 6), "text": each["text"], "track_id": each["track_id"]}
    said |= {"rotation": each.get("rotation"), "is_crowd": each.get("is_crowd") or None}
    attributes = attributes_of(each) | {name: value for name, value in said.items() if value is not None}
    attributes["winnow_id"] = each["annotation_id"]
    box = [round(edge, _DIGITS) for edge in box_of(each)]
    has_mask = each["mask_rle"] is not None
    common = {
        "id": number,
        "attributes": attributes,
        "group": number if has_mask else 0,
        "label_id": each["label"],
        "z_order": 0,
    }
    found: list[dict[str, Any]] = [{**common, "type": "bbox", "bbox": box}]
    drawn = polygons_of(each)
    found += [{**common, "type": "polygon", "points": ring.reshape(-1).tolist()} for ring in drawn]
    if has_mask and not drawn:
        found.append({**common, "type": "mask", "rle": run_lengths(each, width, height)})
    return found
