"""Sharpness and exposure of a grey picture.

To add a measure: write its kernel here, name its value in `PictureMeasures` (one picture at a time) or in
`tone_statistics` (all histograms at once), and declare its column in `schemas.metrics.QUALITY`. The stage key, SQL and
the report follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from transforms.image import Gray


@dataclass(frozen=True)
class BlurParams:
    """How sharpness is scored.

    `method`: the variance of the Laplacian, or the energy of the Sobel gradient, which noise sways less.
    """

    method: Literal["laplacian_var", "tenengrad"] = "laplacian_var"


class PictureMeasures(NamedTuple):
    """What is measured picture by picture, under the column names of the `quality` table."""

    laplacian_var: float
    sharpness: float


class Scratch:
    """Buffers that are reused from picture to picture, since allocating them costs as much as filling them."""

    def __init__(self) -> None:
        self._second: npt.NDArray[np.int16] = np.empty((0, 0), np.int16)

    def second(self, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
        """Return an int16 array of `shape` with arbitrary contents."""
        if self._second.shape != shape:
            self._second = np.empty(shape, np.int16)
        return self._second


def laplacian_var(gray: Gray, scratch: Scratch) -> float:
    """Return the variance of the 4-neighbour Laplacian of an (H, W) uint8 picture, in squared luma, from 0.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". Equal to
    `cv2.Laplacian(gray, cv2.CV_64F).var()`, in a sixth of the time: 16 bits hold every value exactly, and
    E[x²] - E[x]² needs no second pass.
    """
    second = cv2.Laplacian(gray, cv2.CV_16S, dst=scratch.second(gray.shape))
    mean = cv2.sumElems(second)[0] / second.size
    return max(0.0, float(cv2.norm(second, cv2.NORM_L2SQR)) / second.size - mean * mean)


def tenengrad(gray: Gray) -> float:
    """Return the mean squared Sobel gradient of an (H, W) uint8 picture, in squared luma, from 0.

    Krotkov 1988, "Focusing"; less sensitive to noise than the Laplacian. The 3x3 Sobel kernels are not normalised.
    """
    across = float(cv2.norm(cv2.Sobel(gray, cv2.CV_16S, 1, 0), cv2.NORM_L2SQR))
    down = float(cv2.norm(cv2.Sobel(gray, cv2.CV_16S, 0, 1), cv2.NORM_L2SQR))
    return (across + down) / gray.size


def tone_histogram(small: Gray) -> npt.NDArray[np.float32]:
    """Return how many pixels of an (H, W) uint8 picture have each luma, shape (256,), dtype float32."""
    return cv2.calcHist([small], [0], None, [256], [0, 256]).reshape(256)


def tone_statistics(counts: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the tone columns of the `quality` table for N histograms, `counts` of shape (N, 256).

    A percentile is the smallest luma at or below which that share of the pixels lies; contrast is the standard
    deviation of luma; entropy is Shannon's, in bits: 0 for one flat tone, at most 8.
    """
    pixels = counts.sum(axis=1, dtype=np.float64)
    share = counts / pixels[:, None]
    tones = np.arange(256, dtype=np.float64)
    mean = share @ tones
    variance = np.maximum(share @ tones**2 - mean**2, 0)
    below = np.cumsum(counts, axis=1, dtype=np.float64)
    information = np.log2(share, out=np.zeros_like(share), where=share > 0)
    columns = {
        "luma_mean": mean,
        **{f"luma_p{percent:02d}": (below < (percent / 100 * pixels)[:, None]).sum(axis=1) for percent in (5, 50, 95)},
        "contrast": np.sqrt(variance),
        "entropy": np.clip(-np.einsum("ij,ij->i", share, information), 0, 8),
    }
    return {name: values.astype(np.float32) for name, values in columns.items()}


def measure_picture(gray: Gray, params: BlurParams, scratch: Scratch) -> PictureMeasures:
    """Measure one (H, W) uint8 picture at measuring scale."""
    laplacian = laplacian_var(gray, scratch)
    return PictureMeasures(laplacian, laplacian if params.method == "laplacian_var" else tenengrad(gray))
