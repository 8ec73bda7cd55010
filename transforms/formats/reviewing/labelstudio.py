"""Label Studio tasks, written with predictions: https://labelstud.io/guide/task_format."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import pyarrow as pa

from transforms.formats.exports.objects import Objects, attributes_of, corners_of, mask_of, outlines_of
from transforms.formats.reviewing.label_studio_brush import encoded_brush
from transforms.formats.reviewing.shapes import RELATIONS

_IMAGE = "image"
_CONTROLS = {
    "rectanglelabels": ("RectangleLabels", "box"),
    "polygonlabels": ("PolygonLabels", "outline"),
    "brushlabels": ("BrushLabels", "brush"),
}


def labelstudio_files(rows: pa.Table, objects: Objects, root: str) -> dict[str, bytes]:
    """Return `tasks.json`, to be imported, and `labels.xml`, the labelling interface for it.

    Objects are predictions with coordinates in percent of the image; each has its own id, which Label Studio keeps when
    it turns a prediction into an annotation. A mask is a polygon, or a brush where a single polygon does not say it.
    `root` is put before the images' names to make URLs.
    """
    tasks = []
    columns = ("file_name", "width", "height", "stream_id", "frame_idx", "content_hash")
    for row, frame in enumerate(rows.select(columns).to_pylist()):
        found = [_region(each, frame["width"], frame["height"]) for each in objects.of(row)]
        found += [relation for each in objects.of(row) for relation in _relations(each)]
        scores = [each["score"] for each in objects.of(row)]
        key = {name: frame[name] for name in ("stream_id", "frame_idx", "content_hash")}
        prediction: dict[str, Any] = {
            "model_version": ", ".join(sorted({each["model"] for each in objects.of(row)})) or "winnow",
            "score": round(min(scores, default=1.0), 6),
            "result": found,
        }
        data: dict[str, Any] = {_IMAGE: root + quote(frame["file_name"]), **key}
        tasks.append({"data": data, "predictions": [prediction]})
    text = json.dumps(tasks, separators=(",", ":"), ensure_ascii=False)
    return {"tasks.json": text.encode() + b"\n", "labels.xml": _interface(objects.categories)}


def _region(each: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    outline = outlines_of(each, width, height)
    across, down = 100 / width, 100 / height
    place: dict[str, Any]
    if outline.is_simple:
        kind = "polygonlabels"
        place = {"points": [[x * across, y * down] for x, y in outline.parts[0].tolist()], "closed": True}
    elif outline.parts:
        kind = "brushlabels"
        place = {"format": "rle", "rle": encoded_brush(mask_of(each, width, height))}
    else:
        kind = "rectanglelabels"
        # Label Studio turns a box about its upper left corner, which it names where it is after that.
        left, top = corners_of(each)[0].tolist()
        place = {
            "x": left * across,
            "y": top * down,
            "width": each["bbox_w"] * across,
            "height": each["bbox_h"] * down,
            "rotation": each.get("rotation") or 0,
        }
    return {
        "id": each["annotation_id"],
        "from_name": _CONTROLS[kind][1],
        "to_name": _IMAGE,
        "type": kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(each["score"], 6),
        "value": {**place, kind: [each["category"]]},
    }


def _relations(each: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "relation", "from_id": each["annotation_id"], "to_id": other["to"]}
        | {name: value for name, value in other.items() if name != "to"}
        for other in attributes_of(each).get(RELATIONS, ())
    ]


def _interface(categories: tuple[str, ...]) -> bytes:
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=_IMAGE, value=f"${_IMAGE}", zoom="true")
    for element, name in _CONTROLS.values():
        labels = ET.SubElement(view, element, name=name, toName=_IMAGE)
        for category in categories:
            ET.SubElement(labels, "Label", value=category)
    ET.indent(view)
    return ET.tostring(view, encoding="utf-8") + b"\n"
