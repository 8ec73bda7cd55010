"""Shapes of CVAT's XML: boxes, polygons and masks, as elements out and as `ReviewedShape` back in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from transforms.formats.coco_rle import MOST_PIXELS, check_pixels, compressed, shortened
from transforms.formats.exports.objects import attributes_of, box_of, mask_of, outlines_of
from transforms.formats.outlines import Mask
from transforms.formats.reviewing.shapes import RELATIONS, Box, ReviewedShape, Ring, UnsupportedError, box_around
from transforms.formats.reviewing.values import finite, flag, whole

ATTRIBUTE = "annotation_id"
NOTE = "note"
_OCCLUDED = "occluded"
_TEXT, _TRACK, _CROWD = "text", "winnow_track", "is_crowd"
_DIGITS = 2


def texts_of(each: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of an object as CVAT's, all of them text, that labels have to declare."""
    found = {n: v for n, v in attributes_of(each).items() if n not in {_OCCLUDED, RELATIONS, ATTRIBUTE, NOTE}}
    found |= {_TEXT: each["text"]} if each.get("text") else {}
    # Datumaro drops attributes that are called track_id.
    found |= {_TRACK: each["track_id"]} if each.get("track_id") is not None else {}
    found |= {_CROWD: True} if each.get(_CROWD) else {}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}


def add_shape(image: ET.Element, each: dict[str, Any], width: int, height: int) -> None:
    """Add an object to an image: a polygon, a mask where a single polygon does not say it, or else a box."""
    occluded = int(bool(attributes_of(each).get(_OCCLUDED)))
    common = {"label": each["category"], "source": "auto", "occluded": str(occluded), "z_order": "0"}
    found = outlines_of(each, width, height)
    if found.is_simple:
        points = ";".join(f"{x:.{_DIGITS}f},{y:.{_DIGITS}f}" for x, y in found.parts[0])
        shape = ET.SubElement(image, "polygon", common | {"points": points})
    elif found.parts:
        shape = ET.SubElement(image, "mask", common | _rows_of(mask_of(each, width, height)))
    else:
        left, top, across, down = box_of(each)
        edges = {"xtl": left, "ytl": top, "xbr": left + across, "ybr": top + down}
        if each.get("rotation"):
            edges["rotation"] = each["rotation"]
        shape = ET.SubElement(image, "box", common | {n: f"{v:.{_DIGITS}f}" for n, v in edges.items()})
    for name, text in {ATTRIBUTE: each["annotation_id"], **texts_of(each)}.items():
        ET.SubElement(shape, "attribute", name=name).text = text


def _rows_of(mask: Mask) -> dict[str, str]:
    """Return a mask as CVAT has it: its box, and run lengths in it, row by row, beginning with background."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    values = np.concatenate([[0], part.reshape(-1)])
    edges = np.concatenate([[0], np.flatnonzero(np.diff(values)), [part.size]])
    runs = np.diff(edges).tolist()
    place = {"left": left, "top": top, "width": part.shape[1], "height": part.shape[0]}
    return {"rle": ", ".join(map(str, runs)), **{name: str(value) for name, value in place.items()}}


def shape_of(element: ET.Element, width: int, height: int, label: str, place: str) -> ReviewedShape:
    """Return an element as a shape on an image of this size.

    Raises `ValueError` for values that are wrong or missing, and `UnsupportedError` for other kinds.
    """
    if element.tag not in _READERS:
        raise UnsupportedError(f"{element.tag}: expected one of {', '.join(_READERS)}")
    degrees = finite(element.get("rotation", "0"), "rotation") % 360
    if degrees and element.tag != "box":
        raise UnsupportedError(f"a turned {element.tag}: expected a box")
    values = attributes_in(element)
    kept, note = values.pop(ATTRIBUTE, None), values.pop(NOTE, None)
    if flag(element.get(_OCCLUDED), _OCCLUDED):
        values[_OCCLUDED] = True
    found = _READERS[element.tag](element.attrib, width, height)
    common: dict[str, Any] = {"annotation_id": kept, "note": note, "place": place}
    common |= {"text": values.pop(_TEXT, None), "track_id": _track_in(values)}
    common |= {"is_crowd": True if (values.pop(_CROWD, None) or "").casefold() == "true" else None}
    common["attributes"] = values
    return ReviewedShape(label, rotation=degrees, **common, **found)


def _track_in(values: dict[str, Any]) -> int | None:
    """Return the number of a track of ours, taken from attributes; what is no number remains an attribute."""
    text = values.get(_TRACK)
    if text is None or not text.isdecimal():
        return None
    del values[_TRACK]
    return int(text)


def attributes_in(element: ET.Element) -> dict[str, Any]:
    """Return the attributes of an element by name; None for empty ones."""
    return {a.get("name", ""): (a.text or "").strip() or None for a in element.iterfind("attribute")}


def points_of(text: str | None) -> Ring:
    """Return the corners of a polygon. Raises `ValueError`."""
    pairs = [pair.split(",") for pair in (text or "").split(";")]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"points: expected at least three as x,y;x,y;…, found {shortened(text or '')}")
    return tuple((finite(x, "points"), finite(y, "points")) for x, y in pairs)


def _box(attributes: Mapping[str, str], _width: int, _height: int) -> dict[str, Any]:
    left, top, right, bottom = (finite(attributes.get(name), name) for name in ("xtl", "ytl", "xbr", "ybr"))
    return {"box": (left, top, right - left, bottom - top)}


def _polygon(attributes: Mapping[str, str], _width: int, _height: int) -> dict[str, Any]:
    ring = points_of(attributes.get("points"))
    return {"box": box_around([ring]), "rings": (ring,)}


def _mask(attributes: Mapping[str, str], width: int, height: int) -> dict[str, Any]:
    """Return a mask from run lengths within its box, row by row, beginning with background."""
    left, top, across, down = (whole(attributes.get(name), name, 0) for name in ("left", "top", "width", "height"))
    check_pixels(width, height)
    given = [whole(run, "rle", 0) for run in attributes.get("rle", "").split(",")]
    if any(run >= MOST_PIXELS for run in given):
        raise ValueError(f"rle: expected runs of 0 to {MOST_PIXELS - 1} pixels")
    runs = np.array(given, np.int64)
    if runs.sum() != across * down:
        raise ValueError(
            f"rle: expected runs that add up to {across * down}, the pixels of its box, found {runs.sum()}"
        )
    if left + across > width or top + down > height:
        raise ValueError(f"expected a mask inside the image of {width}x{height} pixels, found one that extends beyond")
    mask = np.zeros((height, width), np.uint8)
    part = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
    mask[top : top + down, left : left + across] = part.reshape(down, across)
    box: Box = (float(left), float(top), float(across), float(down))
    return {"box": box, "mask_rle": run_lengths_of(mask)}


def run_lengths_of(mask: Mask) -> str:
    """Return COCO's compressed run lengths of a mask, shape (height, width), 0 or 1."""
    values = np.concatenate([np.zeros(1, np.uint8), mask.T.reshape(-1)])
    edges = np.concatenate([[0], np.flatnonzero(np.diff(values)), [mask.size]])
    return compressed(np.diff(edges).astype(np.int64))


_READERS: Mapping[str, Callable[[Mapping[str, str], int, int], dict[str, Any]]] = {
    "box": _box,
    "polygon": _polygon,
    "mask": _mask,
}
