"""The playing field on a frame, by its colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from annotated_types import Ge, Le

from transforms.brands.text_lines import Probe
from transforms.frames.image import Color
from transforms.frames.pixel_measure import Visit

CELLS = (45, 80)
"""Rows and columns of the mask."""

_LONG_SIDE = 320


@dataclass(frozen=True)
class FieldParams:
    """What colour the playing field has.

    `mode`: `hue` looks for it, `none` is for footage without one.
    `hue_low`, `hue_high`: range of its hue, 0..179 as OpenCV counts.
    `saturation`, `value`: the least that it has of these, 0..255.
    `least_share`: share of the frame that it covers at least.
    """

    mode: Literal["hue", "none"] = "hue"
    hue_low: Annotated[int, Ge(0), Le(179)] = 32
    hue_high: Annotated[int, Ge(0), Le(179)] = 88
    saturation: Annotated[int, Ge(0), Le(255)] = 60
    value: Annotated[int, Ge(0), Le(255)] = 30
    least_share: Annotated[float, Ge(0), Le(1)] = 0.1


class PlayingField(NamedTuple):
    """Share of the frame, median hue, and the mask: shape `CELLS`, bool."""

    share: float
    hue: float
    mask: npt.NDArray[np.bool_]


def find_field(color: Color, params: FieldParams, probe: Probe = None) -> PlayingField | None:
    """Return the playing field on an (H, W, 3) uint8 BGR image, None where there is none."""
    if params.mode == "none":
        return None
    scale = min(1.0, _LONG_SIDE / max(color.shape[:2]))
    size = (max(1, round(color.shape[1] * scale)), max(1, round(color.shape[0] * scale)))
    hsv = cv2.cvtColor(cv2.resize(color, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2HSV)
    low = np.array([params.hue_low, params.saturation, params.value], np.uint8)
    high = np.array([params.hue_high, 255, 255], np.uint8)
    raw = cv2.inRange(hsv, low, high)
    opened = cv2.morphologyEx(raw, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    n, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
    largest = int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) + 1 if n > 1 else 0
    mask = (labels == largest) if largest else np.zeros(closed.shape, np.bool_)
    if probe:
        for name, array in (("colour", raw), ("opened", opened), ("closed", closed)):
            probe(name, array)
        probe("field", mask.astype(np.uint8) * 255)
    share = float(mask.mean())
    if share < params.least_share:
        return None
    cells = cv2.resize(mask.astype(np.uint8) * 255, CELLS[::-1], interpolation=cv2.INTER_AREA) >= 128
    return PlayingField(share, float(np.median(hsv[..., 0][mask])), cells)


class FieldMeasure:
    """The playing field of the frames of a block; a `transforms.frames.pixel_measure.PixelMeasure`."""

    def __init__(self, field: FieldParams) -> None:
        self._params = field
        self._found: list[PlayingField | Literal["none", "corrupt"]] = []

    def measure(self, visit: Visit) -> PlayingField | Literal["none", "corrupt"]:
        """Return the field of a frame."""
        if visit.frame.pixels() is None:
            return "corrupt"
        if self._params.mode == "none":
            return "none"
        return find_field(visit.frame.color(), self._params) or "none"

    def add(self, measured: PlayingField | Literal["none", "corrupt"]) -> None:
        """Take in what `measure` returned."""
        self._found.append(measured)

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of `fields`."""
        there = [each if isinstance(each, PlayingField) else None for each in self._found]
        found = [None if each == "corrupt" else each != "none" for each in self._found]
        shares = [
            each.share if each else (0.0 if known else None) for each, known in zip(there, _known(found), strict=True)
        ]
        return {
            "found": pa.array(found, pa.bool_()),
            "share": pa.array(shares, pa.float32()),
            "hue": pa.array([each and each.hue for each in there], pa.float32()),
            "mask": pa.array([each and np.packbits(each.mask).tobytes() for each in there], pa.binary()),
        }


def unpacked(mask: bytes | None) -> npt.NDArray[np.bool_]:
    """Return the mask of a row of `fields`, shape `CELLS`, bool; nothing is covered where there is none."""
    if mask is None:
        return np.zeros(CELLS, np.bool_)
    return np.unpackbits(np.frombuffer(mask, np.uint8))[: CELLS[0] * CELLS[1]].reshape(CELLS).astype(np.bool_)


def _known(found: list[bool | None]) -> list[bool]:
    return [each is not None for each in found]
