"""Geometry that people draw, in pixels of the upright frame: what is refused, and what becomes of the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.core.optional_packages import require
from transforms.formats.coco_rle import checked_runs
from transforms.formats.outlines import filled

_OUTSIDE_PX = 1.0
"""As far as this a shape may leave the frame; it is clipped then."""

_MOST_POINTS = 20_000
_MOST_COMPARED = 2_000
_CORNERS = 3
_KINDS = ("bbox", "polygons", "rle")


class GeometryError(ValueError):
    """A shape that cannot be on the frame."""


def has_geometry(given: Mapping[str, Any]) -> bool:
    """Return whether any field of a geometry is given."""
    return any(given.get(name) is not None for name in (*_KINDS, "rotation"))


def checked(given: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """Return `bbox`, `rotation`, `polygons` and `rle` of a shape that is given as one of box, polygons and mask.

    `bbox`: left, top, width and height in pixels; `rotation`: degrees clockwise about the centre of the box;
    `polygons`: rings of x, y, x, y, … in pixels, filled by the even-odd rule; `rle`: COCO's compressed run lengths over
    the frame of `width` x `height` pixels. A box around polygons or a mask is computed. What leaves the frame by less
    than a pixel is clipped. Raises `GeometryError` for everything else that is not on the frame.
    """
    kinds = [name for name in _KINDS if given.get(name) is not None]
    if len(kinds) != 1:
        raise GeometryError(f"expected one of {', '.join(_KINDS)}, found {' and '.join(kinds) or 'none'}")
    turn = given.get("rotation") or 0.0
    if not math.isfinite(turn):
        raise GeometryError(f"rotation: expected degrees, found {turn}")
    if turn and kinds != ["bbox"]:
        raise GeometryError("rotation: expected for a box alone; polygons are turned by their points")
    nothing: dict[str, Any] = {"rotation": 0.0, "polygons": None, "rle": None}
    if given.get("bbox") is not None:
        return nothing | {"bbox": _box(given["bbox"], turn % 360, width, height), "rotation": turn % 360}
    if given.get("polygons") is not None:
        rings = _rings(given["polygons"], width, height)
        return nothing | {"bbox": _around(rings), "polygons": [ring.ravel().tolist() for ring in rings]}
    return nothing | {"bbox": _box_of_mask(given["rle"], width, height), "rle": given["rle"]}


def _box(box: Sequence[float], turn: float, width: int, height: int) -> list[float]:
    left, top, wide, high = box
    if not all(map(math.isfinite, box)) or wide <= 0 or high <= 0:
        raise GeometryError(f"bbox: expected finite numbers with width and height above 0, found {_said(box)}")
    if turn:
        if not (0 <= left + wide / 2 <= width and 0 <= top + high / 2 <= height):
            raise GeometryError(f"bbox: its centre is outside of the frame of {width}x{height}, found {_said(box)}")
        return [left, top, wide, high]
    if max(-left, -top, left + wide - width, top + high - height) > _OUTSIDE_PX:
        raise GeometryError(f"bbox: expected it inside the frame of {width}x{height}, found {_said(box)}")
    right, bottom = min(left + wide, float(width)), min(top + high, float(height))
    left, top = max(0.0, left), max(0.0, top)
    if right <= left or bottom <= top:
        raise GeometryError(f"bbox: expected it inside the frame of {width}x{height}, found {_said(box)}")
    return [left, top, right - left, bottom - top]


def _said(box: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in box)


def _rings(polygons: Sequence[Sequence[float]], width: int, height: int) -> list[npt.NDArray[np.float64]]:
    if not polygons:
        raise GeometryError("polygons: expected at least one ring, found none")
    if sum(map(len, polygons)) > 2 * _MOST_POINTS:
        raise GeometryError(f"polygons: expected at most {_MOST_POINTS:,} points; a mask (`rle`) has no such limit")
    return [_ring(at, ring, width, height) for at, ring in enumerate(polygons)]


def _ring(at: int, ring: Sequence[float], width: int, height: int) -> npt.NDArray[np.float64]:
    place = f"polygons.{at}"
    if len(ring) % 2 or len(ring) < 2 * _CORNERS:
        raise GeometryError(f"{place}: expected x and y of at least {_CORNERS} points, found {len(ring)} numbers")
    points = np.asarray(ring, np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise GeometryError(f"{place}: expected finite numbers")
    low, high = points.min(axis=0), points.max(axis=0)
    if (low < -_OUTSIDE_PX).any() or (high > np.array([width, height]) + _OUTSIDE_PX).any():
        raise GeometryError(
            f"{place}: expected it inside the frame of {width}x{height}, found points from {low[0]:g}, {low[1]:g} to "
            f"{high[0]:g}, {high[1]:g}"
        )
    points = np.clip(points, 0.0, np.array([width, height], np.float64))
    if crosses_itself(points):
        raise GeometryError(f"{place}: it crosses itself")
    corner = np.floor(points.min(axis=0))
    wide, tall = (np.ceil(points.max(axis=0)) - corner).astype(int)
    if wide < 1 or tall < 1 or not filled([points - corner], int(wide), int(tall)).any():
        raise GeometryError(f"{place}: expected pixels of the frame in it, found none")
    return points


def crosses_itself(points: npt.NDArray[np.float64]) -> bool:
    """Return whether two edges of a ring, shape (N, 2), cross at a point inside both.

    Edges that touch, or lead there and back, do not cross. Rings of more than 2,000 points, which no person draws
    point by point, are not compared.
    """
    if len(points) > _MOST_COMPARED:
        return False
    one, other = points, np.roll(points, -1, axis=0)

    def sides(of: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # The side of each edge (rows) on which each point (columns) is: its sign.
        along = other - one
        return np.sign(
            along[:, None, 0] * (of[None, :, 1] - one[:, None, 1])
            - along[:, None, 1] * (of[None, :, 0] - one[:, None, 0])
        )

    first, second = sides(one), sides(other)
    apart = first * second < 0
    return bool((apart & apart.T).any())


def _around(rings: Sequence[npt.NDArray[np.float64]]) -> list[float]:
    points = np.concatenate(list(rings))
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return [float(left), float(top), float(right - left), float(bottom - top)]


def _box_of_mask(rle: str, width: int, height: int) -> list[float]:
    require("annotate", "pycocotools")
    try:
        runs = checked_runs(rle, width, height)
    except ValueError as error:
        raise GeometryError(f"rle: {error}") from error
    if not runs[1::2].any():
        raise GeometryError("rle: expected a mask that covers something, found an empty one")
    ends = np.cumsum(runs)
    first, last = ends[0::2][: len(runs[1::2])], ends[1::2] - 1
    covered = runs[1::2] > 0
    first, last = first[covered], last[covered]
    left, right = int(first.min() // height), int(last.max() // height)
    # A run over the border of a column covers rows from there to the bottom, and from the top on.
    spans = first // height != last // height
    top = 0 if spans.any() else int((first % height).min())
    bottom = height - 1 if spans.any() else int((last % height).max())
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def problems_of(fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with fields of an object other than its geometry and category."""
    text = fields.get("text")
    if text is not None and len(text) > 10_000:
        yield "text: expected at most 10,000 characters"
