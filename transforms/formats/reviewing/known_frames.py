"""Known objects of a frame, from the tables, and their comparison with shapes of a tool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from transforms.formats.exports.objects import attributes_of, box_of, corners_of, mask_of, polygons_of, run_lengths
from transforms.formats.outlines import Mask, filled, turned_corners
from transforms.formats.reviewing.shapes import Box, ReviewedShape, box_around, same_box, same_rings, same_turn

Object = Mapping[str, Any]
"""A row with the columns of `annotations` or `reviews`."""


@dataclass(frozen=True)
class Known:
    """A frame, and the objects that models and people have recorded on it, by id.

    `shown`: the current objects of the models. `found`: all objects that models ever detected on it. `said`: those that
    people drew or corrected. `standing`: what is on it now, after reviews. `elsewhere`: ids of objects on other frames.
    `tags`: those that people gave to the frame.
    """

    stream_id: str
    frame_idx: int
    content_hash: str
    width: int
    height: int
    shown: Mapping[str, Object] = field(default_factory=dict)
    found: Mapping[str, Object] = field(default_factory=dict)
    said: Mapping[str, Object] = field(default_factory=dict)
    standing: Mapping[str, Object] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    tags: tuple[Any, ...] = ()

    def as_found(self, annotation_id: str) -> Object | None:
        """Return an object as a model detected it, before any correction; None if there is none."""
        return self.shown.get(annotation_id) or self.found.get(annotation_id)

    @cached_property
    def versions(self) -> Mapping[str, tuple[Object, ...]]:
        """Return each object as a person left it and as a model found it, the later version first."""
        names = {**self.said, **self.shown, **self.found}
        both = {name: (self.said.get(name), self.as_found(name)) for name in names}
        return {name: tuple(each for each in pair if each is not None) for name, pair in both.items()}


def settled(shape: ReviewedShape, versions: Iterable[Object]) -> ReviewedShape:
    """Return a shape whose polygon repeats its box as a polygon, if the object has an area, or else as a box."""
    if shape.repeats_box and not any(each["mask_rle"] is not None for each in versions):
        return replace(shape, rings=(), repeats_box=False)
    return shape


def has_same_geometry(shape: ReviewedShape, base: Object, frame: Known) -> bool:
    """Return whether a shape has the area of an object; a mask that a tool cannot hold comes back as its box."""
    shape = settled(shape, [base])
    if not shape.has_area or (shape.repeats_box and same_box(shape.box, box_of(base))):
        return same_box(shape.box, box_of(base)) and same_turn(shape.rotation, base.get("rotation"))
    if base["mask_rle"] is None:
        return False
    if shape.mask_rle is not None and shape.mask_rle == base["mask_rle"]:
        return True
    drawn = tuple(tuple(map(tuple, ring.tolist())) for ring in polygons_of(base))
    if shape.rings and drawn and same_rings(shape.rings, drawn):
        return True
    return bool(np.array_equal(area_of(shape, frame), mask_of(base, frame.width, frame.height)))


def is_same(shape: ReviewedShape, base: Object, frame: Known) -> bool:
    """Return whether a shape says nothing that an object does not have: category, area, and what goes with it."""
    return (
        shape.category == base["category"]
        and (shape.track_id is None or shape.track_id == base.get("track_id"))
        and (shape.text is None or shape.text == base.get("text"))
        and crowd_of(shape, base) == bool(base.get("is_crowd"))
        and merged_attributes(shape, base) == attributes_of(base)
        and has_same_geometry(shape, base, frame)
    )


def crowd_of(shape: ReviewedShape, base: Object) -> bool:
    """Return whether a shape that is an object of the tables is a crowd.

    Datumaro, and CVAT by it, say so of everything with run lengths, so that these tell nothing new.
    """
    if shape.is_crowd is None or (shape.is_crowd and shape.mask_rle is not None and base):
        return bool(base.get("is_crowd"))
    return shape.is_crowd


def merged_attributes(shape: ReviewedShape, base: Object) -> dict[str, Any]:
    """Return the attributes of an object with those of a shape, of which None deletes one.

    A value that a tool has made text of is the value itself.
    """
    merged = attributes_of(base)
    for name, value in shape.attributes.items():
        if name not in merged or _text(value) != _text(merged[name]):
            merged[name] = value
    return {name: value for name, value in merged.items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def area_of(shape: ReviewedShape, frame: Known) -> Mask:
    """Return the pixels of a shape with polygons or a mask, shape (height, width), uint8, 0 or 1."""
    if shape.rings:
        return filled(shape.rings, frame.width, frame.height)
    return mask_of({"mask_rle": shape.mask_rle}, frame.width, frame.height)


def box_of_mask(mask_rle: str, frame: Known) -> Box:
    """Return the bounding box of a mask."""
    from pycocotools import mask as masks

    encoded = run_lengths({"mask_rle": mask_rle.encode()}, frame.width, frame.height)
    left, top, width, height = (float(v) for v in masks.toBbox(encoded))
    return left, top, width, height


def extent_of(shape: ReviewedShape, frame: Known) -> Box:
    """Return the upright box around a shape."""
    if shape.rings:
        return box_around(shape.rings)
    if shape.mask_rle is not None:
        return box_of_mask(shape.mask_rle, frame)
    return _around(turned_corners(shape.box, shape.rotation)) if shape.rotation else shape.box


def extent_of_object(base: Object) -> Box:
    """Return the upright box around an object."""
    return _around(corners_of(base)) if base.get("rotation") else box_of(base)


def _around(points: Any) -> Box:
    return box_around([tuple((float(x), float(y)) for x, y in points)])
