"""Masks as COCO files have them, checked before anything that trusts them sees them: run lengths and polygons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""Lengths of runs of pixels column by column, shape (N,), in turn outside and inside; the first may be 0."""

_FIRST, _DIGIT, _MORE, _SIGN = 48, 0x1F, 0x20, 0x10
_MOST_DIGITS = 7
_MOST_PIXELS = 1 << 32


def decompressed(text: str) -> Counts:
    """Return the runs of COCO's compressed form: `rleFrString` of pycocotools, which checks nothing.

    A number is digits of five bits, the lowest first, in two's complement, each a character from "0" on; from the
    fourth on it is the difference to the last but one. Raises `ValueError` for what no encoder writes.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - _FIRST
    last = np.flatnonzero((codes & _MORE) == 0)
    if ((codes < 0) | (codes >= 2 * _MORE)).any() or not len(last) or last[-1] != len(codes) - 1:
        raise ValueError(f"expected COCO's compressed run lengths, found {_short(text)}")
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    if digits.max() > _MOST_DIGITS:
        raise ValueError(f"expected COCO's compressed run lengths, found a number of {digits.max()} digits")
    place = np.arange(len(codes)) - np.repeat(first, digits)
    counts = np.add.reduceat((codes & _DIGIT) << 5 * place, first)
    counts -= np.where(codes[last] & _SIGN, 1 << 5 * digits, 0)
    for start in (1, 2):
        counts[start::2] = np.cumsum(counts[start::2])
    if (counts < 0).any():
        raise ValueError(f"expected COCO's compressed run lengths, found one of {counts.min()} pixels")
    return counts


def checked_runs(counts: Any, width: int, height: int) -> Counts:
    """Return runs, compressed (str) or not (list), that cover a picture. Raises `ValueError`."""
    if isinstance(counts, str):
        runs = decompressed(counts)
    elif isinstance(counts, list) and all(type(run) is int and 0 <= run < _MOST_PIXELS for run in counts):
        runs = np.array(counts, np.int64)
    else:
        raise ValueError(f"expected run lengths from 0 on, or compressed ones, found {_short(counts)}")
    total = int(runs.sum())
    if total != width * height or total >= _MOST_PIXELS:
        raise ValueError(f"expected run lengths that add up to {width * height}, found {total}")
    return runs


def compressed(runs: Counts, width: int, height: int) -> str:
    """Return runs that were checked in COCO's compressed form."""
    from pycocotools import mask as masks

    return str(masks.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)["counts"].decode())


def checked_ring(points: Sequence[Any], width: int, height: int) -> None:
    """Raise `ValueError` for what is no polygon on a picture: x, y, x, y, … of three points or more.

    One that goes further beyond an edge than the picture is large is refused: filling it would take for ever.
    """
    if len(points) < 6 or len(points) % 2:
        raise ValueError(f"expected x and y of at least three points, found {len(points)} numbers")
    for value, size in zip(points, (width, height) * (len(points) // 2), strict=True):
        if type(value) not in {int, float} or not math.isfinite(value):
            raise ValueError(f"expected numbers, found {_short(value)}")
        if not -size <= value <= 2 * size:
            raise ValueError(f"the point at {value:g} is far outside the picture of {width}x{height}")


def checked_segmentation(value: Any, width: int, height: int) -> None:
    """Raise `ValueError` for what is neither polygons nor run lengths of a picture of this size."""
    if isinstance(value, list) and value:
        for ring in value:
            if type(ring) is not list:
                raise ValueError(f"expected lists of numbers as polygons, found {_short(ring)}")
            checked_ring(ring, width, height)
        return
    if not isinstance(value, dict) or "counts" not in value:
        raise ValueError(f"expected polygons, or run lengths with size and counts, found {_short(value)}")
    if value.get("size") != [height, width]:
        raise ValueError(f"expected the size [{height}, {width}] of its image, found {_short(value.get('size'))}")
    checked_runs(value["counts"], width, height)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
