"""COCO export: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from transforms.formats.exports.objects import Objects, attributes_of, box_of, polygons_of, run_lengths

ID_BITS = 53
_DIGITS = 2
_BESIDE = ("track_id", "text")


def coco_files(rows: pa.Table, splits: Sequence[str], objects: Objects | None = None) -> dict[str, bytes]:
    """Return one `annotations/instances_SPLIT.json` per split, also for empty splits.

    Ids of images and annotations depend on the frame and on the object alone (`stable_ids`), not on what else is
    exported, nor on how it is split; `winnow_id` is the id in the tables. Category ids count from 1 in the order of the
    categories, all of which are listed in each file. Frames without annotations are included as negatives. `stream_id`
    and `frame_idx` are added to each image. Boxes are left, top, width, height in pixels, before they are turned by
    `attributes.rotation`, degrees clockwise about the centre, as CVAT has it. What COCO has no field for is in
    `attributes` too, which tools keep that drop unknown fields. A mask is run lengths, or the polygons of a person.
    """
    there = objects or Objects.none()
    names = ("stream_id", "frame_idx")
    frames = zip(*(rows[name].to_pylist() for name in names), strict=True)
    numbers = stable_ids([f"{stream}\x1f{number}" for stream, number in frames])
    numbered = rows.append_column("id", pa.array(numbers, pa.int64())).append_column(
        "at", pa.array(range(rows.num_rows))
    )
    columns = ["id", "file_name", "width", "height", "stream_id", "frame_idx"]
    categories = [{"id": at, "name": name, "supercategory": ""} for at, name in enumerate(there.categories, 1)]
    numbers_of = _ids_of_objects(there, rows.num_rows)
    files = {}
    for split in sorted(splits):
        mine = numbered.filter(pc.equal(numbered["split"], split))
        images = mine.select(columns).to_pylist()
        annotations = [
            _annotation(each, number, image)
            for image, at in zip(images, mine["at"].to_pylist(), strict=True)
            for each, number in zip(there.of(at), numbers_of[at], strict=True)
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


def stable_ids(texts: Sequence[str]) -> list[int]:
    """Return a number for each of N different texts, from 1 to 2**53 - 1, which floats and JavaScript hold exactly.

    It is a hash of the text. Of texts with equal hashes, of which there are one pair in a million sets of 100,000, the
    first one in the alphabet has it, and the others that of the text with a number.
    """
    taken: dict[int, str] = {}
    for text in sorted(texts):
        number, tries = _hashed(text), 0
        while not number or number in taken:
            tries += 1
            number = _hashed(f"{text}\x1f{tries}")
        taken[number] = text
    ids = {text: number for number, text in taken.items()}
    return [ids[text] for text in texts]


def _hashed(text: str) -> int:
    return int.from_bytes(blake3(text.encode("utf-8", "surrogatepass")).digest(8), "big") >> (64 - ID_BITS)


def _ids_of_objects(objects: Objects, n_frames: int) -> list[list[int]]:
    """Return the ids of the annotations of each frame."""
    names = [[str(each["annotation_id"]) for each in objects.of(row)] for row in range(n_frames)]
    ids = iter(stable_ids([name for some in names for name in some]))
    return [[next(ids) for _ in some] for some in names]


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
    # Datumaro makes a crowd of everything with run lengths, but keeps attributes.
    crowd = {"winnow_crowd": True} if is_crowd else {}
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
        "attributes": attributes_of(each) | turned | beside | crowd | {"winnow_id": each["annotation_id"]},
    }
