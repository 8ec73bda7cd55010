"""COCO export: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.formats.exports.objects import Objects, attributes_of, box_of, polygons_of, run_lengths

_DIGITS = 2
_BESIDE = ("track_id", "text")


def coco_files(rows: pa.Table, splits: Sequence[str], objects: Objects | None = None) -> dict[str, bytes]:
    """Return one `annotations/instances_SPLIT.json` per split, also for empty splits.

    Image ids count from 1 in the order of the rows, over all splits, so that they do not depend on how a set is split;
    annotation ids likewise, and `winnow_id` is the id in the tables. Category ids count from 1 in the order of the
    categories, all of which are listed in each file. Frames without annotations are included as negatives. `stream_id`
    and `frame_idx` are added to each image. Boxes are left, top, width, height in pixels, before they are turned by
    `attributes.rotation`, degrees clockwise about the centre, as CVAT has it. What COCO has no field for is in
    `attributes` too, which tools keep that drop unknown fields. A mask is run lengths, or the polygons of a person.
    """
    there = objects or Objects.none()
    numbered = rows.append_column("id", pa.array(range(1, rows.num_rows + 1), pa.int64()))
    columns = ["id", "file_name", "width", "height", "stream_id", "frame_idx"]
    categories = [{"id": at, "name": name, "supercategory": ""} for at, name in enumerate(there.categories, 1)]
    first = _first_ids(there, rows.num_rows)
    files = {}
    for split in sorted(splits):
        images = numbered.filter(pc.equal(numbered["split"], split)).select(columns).to_pylist()
        annotations = [
            _annotation(each, first[image["id"] - 1] + at, image)
            for image in images
            for at, each in enumerate(there.of(image["id"] - 1))
        ]
        document: dict[str, Any] = {
            "info": {"description": f"frames curated by Winnow, split {split}"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": categories,
        }
        files[f"annotations/instances_{split}.json"] = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    return files


def _first_ids(objects: Objects, n_frames: int) -> list[int]:
    """Return the id of the first annotation of each frame."""
    first, taken = [], 1
    for row in range(n_frames):
        first.append(taken)
        taken += len(objects.of(row))
    return first


def _annotation(each: dict[str, Any], number: int, image: dict[str, Any]) -> dict[str, Any]:
    box = [round(edge, _DIGITS) for edge in box_of(each)]
    area: float = round(box[2] * box[3], _DIGITS)
    segmentation: Any = []
    if each["mask_rle"] is not None:
        from pycocotools import mask as masks

        segmentation = run_lengths(each, image["width"], image["height"])
        area = int(masks.area(segmentation | {"counts": each["mask_rle"].encode()}))
    is_crowd = bool(each.get("is_crowd"))
    if not is_crowd and (drawn := polygons_of(each)):
        segmentation = [ring.reshape(-1).tolist() for ring in drawn]
    beside = {name: each[name] for name in _BESIDE if each[name] is not None}
    turned = {"rotation": round(each["rotation"], _DIGITS)} if each.get("rotation") else {}
    return {
        "id": number,
        "image_id": image["id"],
        "category_id": each["label"] + 1,
        "bbox": box,
        "area": area,
        "segmentation": segmentation,
        "iscrowd": int(is_crowd),
        "score": round(each["score"], 6),
        **beside,
        "winnow_id": each["annotation_id"],
        "attributes": attributes_of(each) | turned | beside | {"winnow_id": each["annotation_id"]},
    }
