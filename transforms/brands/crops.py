"""Regions of frames as upright crops, what is measured of these, and by what similar ones are found."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.brands.emblems import find_emblems
from transforms.brands.text_lines import EdgeParams, FloatArray, Lines, find_lines
from transforms.frames.image import Color, Gray
from transforms.frames.pixel_measure import Visit

CORNERS = tuple(f"{axis}{number}" for number in range(1, 5) for axis in "xy")
"""Columns of a quadrilateral."""

SKETCH = (12, 48)
"""Rows and columns of the sketch of a region."""

_ASIDE, _ABOVE = 0.3, 0.22
_AROUND = 0.35
"""Of the side of an emblem: by how much more is shown, since where it ends is not known."""

KINDS = ("line", "emblem")
HEIGHTS = {"line": 48, "emblem": 96}
"""Heights in pixels of the crops of regions."""


def sides(quad: FloatArray) -> tuple[float, float]:
    """Return mean width and height in pixels of a quadrilateral, (4, 2), from the upper left corner clockwise."""
    upper, right, lower, left = (float(np.linalg.norm(quad[(at + 1) % 4] - quad[at])) for at in range(4))
    return (upper + lower) / 2, (right + left) / 2


def rectified(image: npt.NDArray[np.uint8], quad: FloatArray, height: int) -> npt.NDArray[np.uint8]:
    """Return a region of an (H, W) or (H, W, 3) uint8 image, with a margin, upright and `height` pixels high."""
    wide, high = sides(quad)
    wide, high = max(wide, 1.0), max(high, 1.0)
    outer = np.empty((4, 2), np.float32)
    # The margin is a share of the height, along the sides of the quadrilateral.
    for at, (ahead, back) in enumerate(((1, 3), (0, 2), (3, 1), (2, 0))):
        along = (quad[at] - quad[ahead]) / max(1.0, float(np.linalg.norm(quad[at] - quad[ahead])))
        across = (quad[at] - quad[back]) / max(1.0, float(np.linalg.norm(quad[at] - quad[back])))
        outer[at] = quad[at] + along * _ASIDE * high + across * _ABOVE * high
    width = int(np.clip(round((wide + 2 * _ASIDE * high) / (high * (1 + 2 * _ABOVE)) * height), 8, 64 * height))
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(outer, target)
    warped = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)


def shown_of(quad: FloatArray, kind: str) -> FloatArray:
    """Return the corners, (4, 2), of what the crop of a region of a kind shows, without the margin of `rectified`."""
    if kind == "line":
        return quad
    middle = quad.mean(axis=0)
    return np.asarray(middle + (quad - middle) * (1 + _AROUND), np.float32)


def margins_of(quad: FloatArray, kind: str) -> tuple[float, float]:
    """Return width and height of what the crop of a region shows, as multiples of the region's."""
    wide, high = sides(shown_of(quad, kind))
    own = sides(quad)
    return (wide + 2 * _ASIDE * high) / max(own[0], 1e-6), high * (1 + 2 * _ABOVE) / max(own[1], 1e-6)


def sketch_of(gray: Gray, quad: FloatArray) -> npt.NDArray[np.uint8]:
    """Return a small grey image of a region, shape `SKETCH`, uint8, without regard to its shape."""
    target = np.array([(0, 0), (SKETCH[1], 0), (SKETCH[1], SKETCH[0]), (0, SKETCH[0])], np.float32) * 2
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    large = cv2.warpPerspective(gray, matrix, (SKETCH[1] * 2, SKETCH[0] * 2), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(large, SKETCH[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def sharpness_of(gray: Gray) -> float:
    """Return the variance of the Laplacian of a grey image."""
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


class EdgeMeasure:
    """Lines on the frames of a block; a `transforms.frames.pixel_measure.PixelMeasure`."""

    def __init__(self, edges: EdgeParams) -> None:
        self._params = edges
        self._found: list[list[dict[str, Any]] | None] = []

    def measure(self, visit: Visit) -> list[dict[str, Any]] | None:
        """Return the lines of a frame, corners in its pixels; None for one that does not decode."""
        pixels = visit.frame.pixels()
        if pixels is None:
            return None
        gray = pixels.gray
        header = visit.frame.header
        assert header is not None
        scale = header.width / gray.shape[1]
        rows = line_rows(gray, find_lines(gray, self._params), scale, "line")
        return rows + line_rows(gray, find_emblems(gray, self._params), scale, "emblem")

    def add(self, measured: list[dict[str, Any]] | None) -> None:
        """Take in what `measure` returned."""
        self._found.append(measured)

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of `edges`."""
        from schemas.brands import LINE

        counts = [None if each is None else len(each) for each in self._found]
        return {"n_lines": pa.array(counts, pa.int64()), "lines": pa.array(self._found, pa.list_(LINE))}


def line_rows(gray: Gray, lines: Lines, scale: float, kind: str) -> list[dict[str, Any]]:
    """Return lines or emblems with what is measured of them; `scale`: pixels of the frame per pixel of the image."""
    rows = []
    for quad, score in zip(lines.quads, lines.scores, strict=True):
        crop = rectified(gray, quad, 24)
        corners = dict(zip(CORNERS, (quad * scale).ravel().tolist(), strict=True))
        measured = {"sharpness": sharpness_of(crop), "contrast": float(crop.std())}
        rows.append({**corners, "score": float(score), **measured, "sketch": sketch_of(gray, quad).tobytes()})
        rows[-1]["kind"] = kind
    return rows


def as_gray(color: Color) -> Gray:
    """Return the luma of an (H, W, 3) uint8 BGR image."""
    return np.asarray(cv2.cvtColor(color, cv2.COLOR_BGR2GRAY), np.uint8)
