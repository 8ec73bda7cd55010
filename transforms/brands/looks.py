"""Lines and emblems of a stream as arrays: where they are, and how they look."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from transforms.brands.crops import sides
from transforms.brands.text_lines import FloatArray


@dataclass
class Looks:
    """Lines of one stream, in the order of frames: frame number, scene, corners (N, 4, 2), sketches (N, D), and more.

    Sketches have mean 0 and length 1. `size` is the width and height of each one's frame in pixels.
    """

    frame_idx: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    scene: npt.NDArray[np.int64]
    quads: FloatArray
    sketches: FloatArray
    size: FloatArray
    score: FloatArray
    sharpness: FloatArray
    contrast: FloatArray
    kind: npt.NDArray[np.str_]
    heights: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.heights = np.array([sides(quad)[1] for quad in self.quads], np.float32)


def unit_sketches(sketches: npt.NDArray[np.uint8]) -> FloatArray:
    """Return sketches, (N, D) uint8, with mean 0 and length 1; those without content are zeros."""
    values = sketches.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 1e-3).astype(np.float32)
