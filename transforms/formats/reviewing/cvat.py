"""CVAT for images 1.1, written for review and read back: https://docs.cvat.ai/docs/other/xml_format."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa

from transforms.formats.exports.objects import Objects
from transforms.formats.reviewing.shapes import (
    Box,
    Returned,
    ReviewedShape,
    ReviewFileError,
    Ring,
    box_around,
    rings_of,
    time_ns,
)

ATTRIBUTE = "annotation_id"
_NOTE = "note"
_DIGITS = 2


def cvat_files(rows: pa.Table, objects: Objects, _root: str = "") -> dict[str, bytes]:
    """Return `annotations.xml`, to be uploaded to a task, and `labels.json`, the labels that the task needs.

    Each shape has the id of its object in an attribute that the labels declare, since CVAT drops undeclared ones.
    Images are named relative to `images/`, from which a task is created.
    """
    root = ET.Element("annotations")
    ET.SubElement(root, "version").text = "1.1"
    task = ET.SubElement(ET.SubElement(root, "meta"), "task")
    for name, text in (("name", "winnow"), ("size", str(rows.num_rows)), ("mode", "annotation")):
        ET.SubElement(task, name).text = text
    labels = ET.SubElement(task, "labels")
    for category in objects.categories:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = category
        attributes = ET.SubElement(label, "attributes")
        for name in (ATTRIBUTE, _NOTE):
            attribute = ET.SubElement(attributes, "attribute")
            fields = {"name": name, "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
            for key, text in fields.items():
                ET.SubElement(attribute, key).text = text
    columns = ("file_name", "width", "height")
    for row, frame in enumerate(rows.select(columns).to_pylist()):
        fields = {"id": str(row), "name": frame["file_name"].removeprefix("images/")}
        image = ET.SubElement(root, "image", fields | {key: str(frame[key]) for key in ("width", "height")})
        for each in objects.of(row):
            _add(image, each, frame["width"], frame["height"])
    ET.indent(root)
    text = ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    declared = [
        {
            "name": category,
            "attributes": [
                {"name": name, "mutable": False, "input_type": "text", "default_value": "", "values": [""]}
                for name in (ATTRIBUTE, _NOTE)
            ],
        }
        for category in objects.categories
    ]
    return {"annotations.xml": text, "labels.json": json.dumps(declared, indent=1, ensure_ascii=False).encode() + b"\n"}


def _add(image: ET.Element, each: dict[str, Any], width: int, height: int) -> None:
    rings = rings_of(each, width, height)
    attributes = {"label": each["category"], "source": "auto", "occluded": "0", "z_order": "0"}
    if rings:
        points = ";".join(f"{x:.{_DIGITS}f},{y:.{_DIGITS}f}" for x, y in rings[0])
        shape = ET.SubElement(image, "polygon", attributes | {"points": points})
    else:
        left, top = each["bbox_x"], each["bbox_y"]
        edges = {"xtl": left, "ytl": top, "xbr": left + each["bbox_w"], "ybr": top + each["bbox_h"]}
        shape = ET.SubElement(image, "box", attributes | {n: f"{v:.{_DIGITS}f}" for n, v in edges.items()})
    ET.SubElement(shape, "attribute", name=ATTRIBUTE).text = each["annotation_id"]


def read_cvat(data: bytes) -> list[Returned]:
    """Return all frames of a file; an image without shapes is a frame without objects. Raises `ReviewFileError`."""
    try:
        root = ET.fromstring(data)  # noqa: S314 - expat expands no entity that a file declares beyond its limits
    except ET.ParseError as error:
        raise ReviewFileError([f"expected XML: {error}"]) from error
    if root.tag != "annotations" or root.findtext("version") != "1.1":
        raise ReviewFileError(["expected annotations of version 1.1, as `CVAT for images 1.1` has them"])
    if root.find("track") is not None:
        raise ReviewFileError(["expected `CVAT for images 1.1`, found tracks, as `CVAT for video 1.1` has them"])
    who = next((root.findtext(f"meta/{place}") for place in _PEOPLE if root.findtext(f"meta/{place}")), None)
    when = time_ns(root.findtext("meta/task/updated") or root.findtext("meta/dumped"))
    frames, problems = [], []
    for number, image in enumerate(root.iterfind("image"), 1):
        place = f"image {image.get('id', number)}"
        try:
            name, width, height = image.attrib["name"], int(image.attrib["width"]), int(image.attrib["height"])
        except (KeyError, ValueError) as error:
            problems.append(f"{place}: expected name, width and height, whole numbers ({error})")
            continue
        shapes = []
        for at, element in enumerate(image, 1):
            if element.tag == "tag":
                continue
            try:
                shapes.append(_shape(element, width, height))
            except KeyError as error:
                problems.append(f"{place}, {element.tag} {at}: {error} is missing")
            except ValueError as error:
                problems.append(f"{place}, {element.tag} {at}: {error}")
        frames.append(Returned(place, name, tuple(shapes), (width, height), who, when))
    if problems:
        raise ReviewFileError(problems, frames)
    return frames


_PEOPLE = ("task/assignee/username", "job/assignee/username", "task/owner/username", "project/owner/username")


def _shape(element: ET.Element, width: int, height: int) -> ReviewedShape:
    if element.tag not in _READERS:
        raise ValueError(f"expected one of {', '.join(_READERS)}, found {element.tag}")
    if float(element.get("rotation", 0)):
        raise ValueError("expected a box without rotation, found a rotated one")
    values = {a.get("name"): (a.text or "").strip() or None for a in element.iterfind("attribute")}
    found = _READERS[element.tag](element.attrib, width, height)
    return ReviewedShape(element.attrib["label"], annotation_id=values.get(ATTRIBUTE), note=values.get(_NOTE), **found)


def _box(attributes: Mapping[str, str], _width: int, _height: int) -> dict[str, Any]:
    left, top, right, bottom = (_number(attributes[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    return {"box": (left, top, right - left, bottom - top)}


def _polygon(attributes: Mapping[str, str], _width: int, _height: int) -> dict[str, Any]:
    pairs = [pair.split(",") for pair in attributes["points"].split(";")]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"points: expected at least three as x,y;x,y;…, found {attributes['points'][:40]!r}")
    ring: Ring = tuple((_number(x), _number(y)) for x, y in pairs)
    return {"box": box_around([ring]), "rings": (ring,)}


def _mask(attributes: Mapping[str, str], width: int, height: int) -> dict[str, Any]:
    """Return a mask from run lengths within its box, row by row, beginning with background."""
    from pycocotools import mask as masks

    left, top, across, down = (int(attributes[name]) for name in ("left", "top", "width", "height"))
    runs = np.array([int(run) for run in attributes["rle"].split(",")], np.int64)
    if (runs < 0).any() or runs.sum() != across * down or left < 0 or top < 0:
        raise ValueError(
            f"rle: expected runs that add up to {across * down}, the pixels of its box, found {runs.sum()}"
        )
    if left + across > width or top + down > height:
        raise ValueError(f"expected a mask inside the image of {width}x{height} pixels, found one that extends beyond")
    whole = np.zeros((height, width), np.uint8)
    part = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    whole[top : top + down, left : left + across] = part.reshape(down, across)
    box: Box = (float(left), float(top), float(across), float(down))
    return {"box": box, "mask_rle": masks.encode(np.asfortranarray(whole))["counts"].decode()}


_READERS: Mapping[str, Callable[[Mapping[str, str], int, int], dict[str, Any]]] = {
    "box": _box,
    "polygon": _polygon,
    "mask": _mask,
}


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"expected a number, found {text!r}")
    return value
