"""Validation of COCO segmentations, run lengths and polygons, and conversion of run lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""Lengths of pixel runs, column by column, shape (N,), alternately background (which can be 0) and foreground."""

_FIRST, _DIGIT, _MORE, _SIGN = 48, 0x1F, 0x20, 0x10
_MOST_DIGITS = 7
# From here on a run takes seven digits, and pycocotools writes past its buffer.
MOST_PIXELS = 1 << 29
"""Images of as many pixels or more have no masks."""


def decompressed(text: str) -> Counts:
    """Return the runs of COCO's compressed form, as `rleFrString` of pycocotools does, but with validation.

    A number is a sequence of five-bit digits, the lowest first, in two's complement, each a character from "0" on; from
    the fourth number on it is the difference to the last but one. Raises `ValueError` for invalid text.
    """
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - _FIRST
    last = np.flatnonzero((codes & _MORE) == 0)
    if ((codes < 0) | (codes >= 2 * _MORE)).any() or not len(last) or last[-1] != len(codes) - 1:
        raise ValueError(f"expected COCO's compressed run lengths, found {shortened(text)}")
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
    """Return runs, from compressed (str) or plain (list) counts, that cover an image. Raises `ValueError`."""
    if isinstance(counts, str):
        runs = decompressed(counts)
    elif isinstance(counts, list) and all(type(run) is int and 0 <= run < MOST_PIXELS for run in counts):
        runs = np.array(counts, np.int64)
    else:
        raise ValueError(f"expected run lengths from 0 on, or compressed ones, found {shortened(counts)}")
    check_pixels(width, height)
    total = int(runs.sum())
    if total != width * height:
        raise ValueError(f"expected run lengths that add up to {width * height}, found {total}")
    return runs


def compressed(runs: Counts) -> str:
    """Return validated runs in COCO's compressed form, the inverse of `decompressed`.

    `rleToString` of pycocotools gives the same, but writes past its buffer where a number takes seven digits, from
    2**29 on.
    """
    left = runs.copy()
    left[3:] -= runs[1:-2]
    codes = np.zeros((len(runs), _MOST_DIGITS), np.uint8)
    is_written = np.zeros(codes.shape, np.bool_)
    goes_on = np.ones(len(runs), np.bool_)
    for place in range(_MOST_DIGITS):
        digit = left & _DIGIT
        left >>= 5
        is_written[:, place] = goes_on
        goes_on = np.where(digit & _SIGN, left != -1, left != 0) & goes_on
        codes[:, place] = (digit | goes_on * _MORE) + _FIRST
    return codes[is_written].tobytes().decode("ascii")


def check_pixels(width: int, height: int) -> None:
    """Raise `ValueError` for an image that is too large for masks, before anything of its size is allocated."""
    if width * height >= MOST_PIXELS:
        raise ValueError(f"expected an image of fewer than {MOST_PIXELS} pixels, found {width}x{height}")


def checked_ring(points: Sequence[Any], width: int, height: int) -> None:
    """Raise `ValueError` unless the points are a polygon on an image: x, y, x, y, … in pixels, of three points or more.

    Polygons that extend beyond an edge by more than the size of the image are refused: filling them would take too
    long.
    """
    if len(points) < 6 or len(points) % 2:
        raise ValueError(f"expected x and y of at least three points, found {len(points)} numbers")
    for value, size in zip(points, (width, height) * (len(points) // 2), strict=True):
        if type(value) not in {int, float} or not math.isfinite(value):
            raise ValueError(f"expected numbers, found {shortened(value)}")
        if not -size <= value <= 2 * size:
            raise ValueError(f"the point at {value:g} is far outside the image of {width}x{height}")


def checked_segmentation(value: Any, width: int, height: int) -> None:
    """Raise `ValueError` unless the value is polygons, or run lengths of an image of this size."""
    if isinstance(value, list) and value:
        for ring in value:
            if type(ring) is not list:
                raise ValueError(f"expected lists of numbers as polygons, found {shortened(ring)}")
            checked_ring(ring, width, height)
        return
    if not isinstance(value, dict) or "counts" not in value:
        raise ValueError(f"expected polygons, or run lengths with size and counts, found {shortened(value)}")
    if value.get("size") != [height, width]:
        raise ValueError(f"expected the size [{height}, {width}] of its image, found {shortened(value.get('size'))}")
    checked_runs(value["counts"], width, height)


def shortened(value: Any) -> str:
    """Return a value as text of at most 60 characters, for messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
