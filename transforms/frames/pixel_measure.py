"""Interface of a measure of the pixel pass: what a stage computes of the frames of one block, from their pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

import schemas
from transforms.frames.frame_image import FrameImage


class Visit(NamedTuple):
    """A frame that the pass visits.

    `before` is the previous frame of its stream, None for the first one and after a gap. `save_jpeg` stores a JPEG of
    the frame and returns its URI; None where nothing is stored.
    """

    frame_idx: int
    frame: FrameImage
    before: FrameImage | None = None
    save_jpeg: Callable[[bytes], str] | None = None


class PixelMeasure(Protocol):
    """Measures the frames of one block, and returns their columns.

    `measure` and `add` are separate, so that a frame of which one measure fails has no row of any.
    """

    def measure(self, visit: Visit) -> Any:
        """Return what is measured of one frame, also of one that does not decode. Any exception quarantines it."""

    def add(self, measured: Any) -> None:
        """Take in what `measure` returned, for the next row."""

    def columns(self) -> dict[str, pa.Array]:
        """Return the columns of all added frames, in order: those of the stage's table without keys and ids."""


@dataclass(frozen=True)
class StageMeasure:
    """A stage of the pass: its name, its table, and what makes the measure of a block.

    Of `of_pairs`, a row also depends on the frame before.
    """

    name: str
    table: schemas.Table
    make: Callable[[], PixelMeasure]
    of_pairs: bool = False
