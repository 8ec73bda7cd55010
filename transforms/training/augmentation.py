"""Augmentation of images with boxes: flip, zoom and shift, colour. Numpy and OpenCV, each draw from a given generator.

Geometry is that of the whole project: pixel (x, y) covers the square from (x, y) to (x + 1, y + 1), and boxes are left,
top, right, bottom in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from transforms.frames.image import Color
from transforms.training.preset import Preset

Boxes = npt.NDArray[np.float32]

_GREY = 114
"""What fills the border: the value with which YOLO letterboxes."""
_LEAST_VISIBLE = 0.25
"""A box of which less is left after zoom and shift is left out: what is left may show nothing of the object."""
_LEAST_PX = 1.0


@dataclass(frozen=True)
class Strength:
    """How far an image may be altered.

    `flip`: the probability of mirroring left to right. `zoom`: the range of the scale, 1 for the size as it is.
    `shift`: the largest move, as a share of width and height. `hue` in degrees of the colour circle (0..180), `colour`
    and `light` as factors around 1 of saturation and value.
    """

    flip: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    hue: float = 0.0
    colour: float = 0.0
    light: float = 0.0


PRESETS: Mapping[Preset, Strength] = {
    "none": Strength(),
    "minimal": Strength(flip=0.5),
    "standard": Strength(flip=0.5, zoom=(0.7, 1.3), shift=0.1, hue=4.0, colour=0.3, light=0.3),
    "strong": Strength(flip=0.5, zoom=(0.4, 1.7), shift=0.2, hue=8.0, colour=0.6, light=0.5),
}


class Augmented(NamedTuple):
    """An altered image (H, W, 3) uint8 BGR, its boxes (M, 4) float32, and which of the boxes given they are, (M,)."""

    image: Color
    boxes: Boxes
    kept: npt.NDArray[np.int64]


def augmented(image: Color, boxes: Boxes, strength: Strength, random: np.random.Generator) -> Augmented:
    """Alter an image (H, W, 3) uint8 BGR with its boxes (N, 4); the size of the image stays.

    Boxes are clipped to the image; those of which less than a quarter, or less than a pixel a side, is left are left
    out. The same generator state gives the same bytes.
    """
    height, width = image.shape[:2]
    # All draws come first, and always, so that one setting does not change what another one draws.
    draws = random.random(7)
    matrix = _matrix(strength, draws, width, height)
    if not np.array_equal(matrix, np.eye(2, 3)):
        image = _warped(image, matrix)
    image = _coloured(image, strength, draws[4:])
    moved, kept = _moved(boxes, matrix, width, height)
    return Augmented(image, moved, kept)


def _matrix(strength: Strength, draws: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.float64]:
    """Return the map of points, (2, 3): mirror about the middle, zoom about the middle, shift."""
    low, high = strength.zoom
    zoom = low * (high / low) ** draws[1]
    sign = -1.0 if draws[0] < strength.flip else 1.0
    dx, dy = ((2 * draws[at] - 1) * strength.shift * side for at, side in ((2, width), (3, height)))
    return np.array(
        [
            [sign * zoom, 0.0, width / 2 - sign * zoom * width / 2 + dx],
            [0.0, zoom, height / 2 - zoom * height / 2 + dy],
        ]
    )


def _warped(image: Color, matrix: npt.NDArray[np.float64]) -> Color:
    height, width = image.shape[:2]
    # OpenCV counts from the centres of pixels, which are at half pixels here.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    size, fill = (width, height), (_GREY,) * 3
    found: Color = cv2.warpAffine(image, centred, size, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    return found


def _coloured(image: Color, strength: Strength, draws: npt.NDArray[np.float64]) -> Color:
    if not (strength.hue or strength.colour or strength.light):
        return image
    signed = 2 * draws - 1
    hue, colour, light = signed[0] * strength.hue, 1 + signed[1] * strength.colour, 1 + signed[2] * strength.light
    steps = np.arange(256, dtype=np.float64)
    # By tables of 256 entries: hue counts to 180 in OpenCV, half of the degrees.
    tables = [
        ((steps + hue / 2) % 180).astype(np.uint8),
        np.clip(steps * colour, 0, 255).astype(np.uint8),
        np.clip(steps * light, 0, 255).astype(np.uint8),
    ]
    planes = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    merged = cv2.merge([cv2.LUT(plane, table) for plane, table in zip(planes, tables, strict=True)])
    found: Color = cv2.cvtColor(merged, cv2.COLOR_HSV2BGR)
    return found


def _moved(
    boxes: Boxes, matrix: npt.NDArray[np.float64], width: int, height: int
) -> tuple[Boxes, npt.NDArray[np.int64]]:
    if not len(boxes):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    xs = boxes[:, [0, 2]] * matrix[0, 0] + matrix[0, 2]
    ys = boxes[:, [1, 3]] * matrix[1, 1] + matrix[1, 2]
    corners = np.stack([xs.min(axis=1), ys.min(axis=1), xs.max(axis=1), ys.max(axis=1)], axis=1)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    clipped = np.clip(corners, 0, [width, height, width, height])
    sides = clipped[:, 2:] - clipped[:, :2]
    visible = sides.prod(axis=1) >= _LEAST_VISIBLE * areas
    kept = np.flatnonzero(visible & (sides >= _LEAST_PX).all(axis=1))
    return clipped[kept].astype(np.float32), kept.astype(np.int64)
