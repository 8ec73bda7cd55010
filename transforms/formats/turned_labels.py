"""Labels made on the pixels of an image as they are stored, turned to where the image is displayed by its EXIF."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from transforms.formats.exports.objects import mask_of
from transforms.formats.outlines import encoded
from transforms.formats.reviewing.shapes import Box, Returned, ReviewedShape
from transforms.frames.orientation import ON_ITS_SIDE, turned


def stored_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height of an image as stored, given those as displayed."""
    return (height, width) if orientation >= ON_ITS_SIDE else (width, height)


def as_displayed(frame: Returned, orientation: int, width: int, height: int) -> Returned:
    """Return a frame with its shapes turned from stored to displayed pixels.

    `orientation`: that of the image, 1 to 8 of EXIF; `width` and `height`: those of the image as stored, in pixels.
    """
    size = stored_size(width, height, orientation)
    shapes = tuple(_turned(shape, orientation, width, height) for shape in frame.shapes)
    return replace(frame, shapes=shapes, size=size if frame.size else None)


def _turned(shape: ReviewedShape, orientation: int, width: int, height: int) -> ReviewedShape:
    rings = tuple(tuple(_point(x, y, orientation, width, height) for x, y in ring) for ring in shape.rings)
    mask = shape.mask_rle
    if mask is not None:
        mask = encoded(turned(mask_of({"mask_rle": mask}, width, height), orientation))
    box, rotation = _box(shape.box, orientation, width, height), 0.0
    if shape.rotation:
        box, rotation = _turned_box(shape.box, shape.rotation, orientation, width, height)
    return replace(shape, box=box, rings=rings, mask_rle=mask, rotation=rotation)


def _point(x: float, y: float, orientation: int, width: float, height: float) -> tuple[float, float]:
    """Return where a point of the stored image is displayed; with a width and height of 0, where a direction leads."""
    return {
        1: (x, y),
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }[orientation]


def _box(box: Box, orientation: int, width: int, height: int) -> Box:
    left, top, across, down = box
    one = _point(left, top, orientation, width, height)
    other = _point(left + across, top + down, orientation, width, height)
    size = (down, across) if orientation >= ON_ITS_SIDE else (across, down)
    return min(one[0], other[0]), min(one[1], other[1]), *size


def _turned_box(box: Box, degrees: float, orientation: int, width: int, height: int) -> tuple[Box, float]:
    """Return a turned box, which keeps its own width and height, and its rotation in degrees, 0 to 360."""
    left, top, across, down = box
    x, y = _point(left + across / 2, top + down / 2, orientation, width, height)
    angle = math.radians(degrees)
    ahead = _point(math.cos(angle), math.sin(angle), orientation, 0, 0)
    # A box looks the same when it is turned by half.
    found = math.degrees(math.atan2(ahead[1], ahead[0])) % 360
    return (x - across / 2, y - down / 2, across, down), float(np.round(found, 9)) % 360
