"""Losses of an export format: counts of objects and attributes that it cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from transforms.formats.exports import voc, yolo
from transforms.formats.exports.objects import Objects, attributes_of, corners_of, outlines_of
from transforms.formats.outlines import Points
from transforms.formats.reviewing.shapes import RELATIONS

Loses = Callable[[Mapping[str, Any], int, int], bool]
"""Says whether a format loses something of an object on a frame of this width and height."""


def _is_thin_in_yolo(each: Mapping[str, Any], width: int, height: int) -> bool:
    return not each.get("is_crowd") and not yolo.holds(each, width, height)


def _is_thin_in_voc(each: Mapping[str, Any], width: int, height: int) -> bool:
    return not voc.holds(each, width, height)


def _is_crowd(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return bool(each.get("is_crowd"))


def _has_holes(each: Mapping[str, Any], width: int, height: int) -> bool:
    return bool(outlines_of(each, width, height).holes)


def _has_parts(each: Mapping[str, Any], width: int, height: int) -> bool:
    return len(outlines_of(each, width, height).parts) > 1


def _is_turned(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return bool(each.get("rotation"))


def _is_cut(each: Mapping[str, Any], width: int, height: int) -> bool:
    """Return whether a turned box has a corner outside of the image, which ends at the edge."""
    return bool(each.get("rotation")) and _leaves(corners_of(each), width, height)


def _is_cut_around_a_mask(each: Mapping[str, Any], width: int, height: int) -> bool:
    """Return whether the turned box of an object, or around its mask, has a corner outside of the image."""
    is_turned = bool(each.get("rotation")) or each["mask_rle"] is not None
    return is_turned and _leaves(yolo.corners_in_obb(each, width, height), width, height)


def _leaves(points: Points, width: int, height: int) -> bool:
    return bool(((points < 0) | (points > [width, height])).any())


def _has_mask(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return each["mask_rle"] is not None


def _has_track(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return each["track_id"] is not None


def _has_text(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return bool(each.get("text"))


def _has_attributes(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return bool(attributes_of(each))


def _has_attributes_but_relations(each: Mapping[str, Any], _width: int, _height: int) -> bool:
    return bool(attributes_of(each).keys() - {RELATIONS})


_PLAIN: Mapping[str, Loses] = {"tracks": _has_track, "texts": _has_text, "attributes": _has_attributes}
_YOLO_LEFT_OUT: Mapping[str, Loses] = {"too_thin": _is_thin_in_yolo, "crowds": _is_crowd}

LEFT_OUT: Mapping[str, Mapping[str, Loses]] = {
    "yolo": _YOLO_LEFT_OUT,
    "yolo-segment": _YOLO_LEFT_OUT,
    "yolo-obb": _YOLO_LEFT_OUT,
    "voc": {"too_thin": _is_thin_in_voc},
}
"""Why a format leaves an object out, by format."""

SIMPLIFIED: Mapping[str, Mapping[str, Loses]] = {
    "yolo": {"masks": _has_mask, "turned": _is_turned, **_PLAIN},
    "yolo-segment": {"holes": _has_holes, "joined": _has_parts, "cut": _is_cut, **_PLAIN},
    "yolo-obb": {"masks": _has_mask, "cut": _is_cut_around_a_mask, **_PLAIN},
    "voc": {"masks": _has_mask, "turned": _is_turned, **_PLAIN},
    "labelstudio": {**_PLAIN, "attributes": _has_attributes_but_relations, "crowds": _is_crowd},
}
"""What a format does not hold of an object that it has: turned boxes become upright, holes are filled,
separate parts joined."""


def losses(format_: str, rows: pa.Table, objects: Objects) -> dict[str, Any]:
    """Return the entries of a manifest on the objects in the files of a format.

    `objects`: how many the files hold. `left_out`: how many they do not hold, by reason. `simplified`: how many they
    hold with less than is known of them, by what is missing. Reasons without objects are not listed.
    """
    sizes = list(zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True))
    left_out, simplified, n = Counter[str](), Counter[str](), 0
    for row, found in objects.by_row.items():
        for each in found:
            missing = [why for why, loses in LEFT_OUT.get(format_, {}).items() if loses(each, *sizes[row])]
            left_out.update(missing[:1])
            if not missing:
                n += 1
                simplified.update(
                    what for what, loses in SIMPLIFIED.get(format_, {}).items() if loses(each, *sizes[row])
                )
    return {"objects": n, "left_out": dict(left_out), "simplified": dict(simplified)}
