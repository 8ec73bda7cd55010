"""Sharpness and exposure of grey images.

To add a measure: write its kernel here, add its value to `PictureMeasures` (one image at a time) or to
`tone_statistics` (all histograms at once), and declare its column in `schemas.metrics.QUALITY`. The stage key, SQL and
the report follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from transforms.frames.image import Gray

_LEAST_SIDE = 8
_BEND = np.array([[1, -2, 1]], np.float32)
_NOISE = 1.5
_MOST_NOISE = 10.0 * math.sqrt(2 / math.pi)
"""Largest mean absolute noise of a camera, in luma at measuring scale: that of a standard deviation of 10."""
_LAPLACIAN_GAIN, _BEND_GAIN = math.sqrt(20), math.sqrt(6) / 2
"""Factors by which the Laplacian, and (1, -2, 1) after averaging of 2x2 pixels, amplify noise."""
_FAINT = 30.0
"""Squared luma that is added to denominators, so that an image without content does not count as sharp."""


@dataclass(frozen=True)
class BlurParams:
    """How sharpness is measured.

    `method`: `acutance`, the share of fine detail, mostly independent of content and noise; the variance of the
    Laplacian; or the energy of the Sobel gradient. The last two grow with contrast and texture as much as with
    sharpness, so that one threshold does not suit two scenes.
    """

    method: Literal["acutance", "laplacian_var", "tenengrad"] = "acutance"


class PictureMeasures(NamedTuple):
    """Measures that are computed image by image, under their column names in the `quality` table."""

    laplacian_var: float
    sharpness: float


class Scratch:
    """Reused buffers, since allocating them for each image costs as much as filling them."""

    def __init__(self) -> None:
        self._second: dict[str, npt.NDArray[np.int16]] = {}

    def second(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
        """Return the int16 buffer `name` with this shape; its contents are arbitrary."""
        have = self._second.get(name)
        if have is None or have.shape != shape:
            have = self._second[name] = np.empty(shape, np.int16)
        return have


def laplacian(gray: Gray, scratch: Scratch) -> npt.NDArray[np.int16]:
    """Return the 4-neighbour Laplacian of an (H, W) uint8 image, (H, W) int16, which holds every value exactly."""
    return cv2.Laplacian(gray, cv2.CV_16S, dst=scratch.second("laplacian", gray.shape))


def variance(second: npt.NDArray[np.int16], energy: float) -> float:
    """Return the variance of an (H, W) int16 array, given `energy`, the mean of its squares.

    For the Laplacian, in squared luma, from 0, this is the measure of Pech-Pacheco et al. 2000, "Diatom autofocusing in
    brightfield microscopy". Equal to `cv2.Laplacian(gray, cv2.CV_64F).var()`, in a sixth of the time.
    """
    mean = cv2.sumElems(second)[0] / second.size
    return max(0.0, energy - mean * mean)


def acutance(gray: Gray, second: npt.NDArray[np.int16], energy: float, scratch: Scratch) -> float:
    """Return the sharpness of an (H, W) uint8 image, from 0: about 0.5 if sharp, 0.05 if blurred.

    `second` is its Laplacian, (H, W) int16, and `energy` the mean of the Laplacian's squares.

    The geometric mean of two ratios, each of the energy of second differences at one scale to that at half the scale:
    of the full image to the half, in all directions together, and of the half to the quarter, in the direction where it
    is lower, since motion blurs one direction only. Blur removes the fine scale first, whereas contrast, light and
    texture change both scales alike. From the energy at the finer scale, an estimate of the noise's energy is
    subtracted: noise is evenly spread, E(x²) / (E|x|)² being π/2 for a normal distribution, while edges are sparse and
    strong (2 for the double exponential distribution); of pure noise a twentieth is left. A texture without edges, such
    as gravel, also loses energy unless it is stronger than any camera's noise.

    Images of under 8 pixels a side score 0, since they have no coarser scale.
    """
    if min(gray.shape) < _LEAST_SIDE:
        return 0.0
    half = _half(gray)
    quarter = _half(half)
    across, down = _second_differences(half, "half", scratch)
    wide_across, wide_down = _second_differences(quarter, "quarter", scratch)
    in_rows, in_columns = mean_square(across), mean_square(down)
    fine = _edges(second, energy, _LAPLACIAN_GAIN) / (in_rows + in_columns + _FAINT)
    coarse = min(
        _edges(across, in_rows, _BEND_GAIN) / (mean_square(wide_across) + _FAINT),
        _edges(down, in_columns, _BEND_GAIN) / (mean_square(wide_down) + _FAINT),
    )
    return math.sqrt(fine * coarse)


def _half(gray: Gray) -> Gray:
    """Average 2x2 pixels; an odd last row or column is dropped, which keeps to OpenCV's fast path."""
    height, width = gray.shape[0] // 2, gray.shape[1] // 2
    return cv2.resize(gray[: height * 2, : width * 2], (width, height), interpolation=cv2.INTER_AREA)


def _second_differences(gray: Gray, name: str, scratch: Scratch) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the second differences (1, -2, 1) along rows and along columns of an (H, W) image, both (H, W) int16.

    Equal to `cv2.Sobel` of order two with `ksize=1`, which takes three times as long along the rows.
    """
    across = cv2.filter2D(gray, cv2.CV_16S, _BEND, dst=scratch.second(f"{name} across", gray.shape))
    return across, cv2.filter2D(gray, cv2.CV_16S, _BEND.T, dst=scratch.second(f"{name} down", gray.shape))


def mean_square(second: npt.NDArray[np.int16]) -> float:
    """Return the mean of the squares of an (H, W) int16 array."""
    return float(cv2.norm(second, cv2.NORM_L2SQR)) / second.size


def _edges(second: npt.NDArray[np.int16], energy: float, gain: float) -> float:
    """Return the energy of edges: `energy` less that of noise, which is estimated from the mean absolute value."""
    spread = min(float(cv2.norm(second, cv2.NORM_L1)) / second.size, _MOST_NOISE * gain)
    return max(0.0, energy - _NOISE * spread * spread)


def tenengrad(gray: Gray) -> float:
    """Return the mean squared Sobel gradient of an (H, W) uint8 image, in squared luma, from 0.

    Krotkov 1988, "Focusing"; less sensitive to noise than the Laplacian. The 3x3 Sobel kernels are not normalised.
    """
    across = float(cv2.norm(cv2.Sobel(gray, cv2.CV_16S, 1, 0), cv2.NORM_L2SQR))
    down = float(cv2.norm(cv2.Sobel(gray, cv2.CV_16S, 0, 1), cv2.NORM_L2SQR))
    return (across + down) / gray.size


def tone_histogram(small: Gray) -> npt.NDArray[np.float32]:
    """Return the histogram of luma of an (H, W) uint8 image, shape (256,), float32."""
    return cv2.calcHist([small], [0], None, [256], [0, 256]).reshape(256)


def tone_statistics(counts: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the tone columns of the `quality` table, each (N,) float32, for N histograms, `counts` of shape (N, 256).

    A percentile is the smallest luma at or below which that share of the pixels is; contrast is the standard
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
    """Measure one (H, W) uint8 image at measuring scale."""
    second = laplacian(gray, scratch)
    energy = mean_square(second)
    plain = variance(second, energy)
    match params.method:
        case "acutance":
            return PictureMeasures(plain, acutance(gray, second, energy, scratch))
        case "laplacian_var":
            return PictureMeasures(plain, plain)
        case "tenengrad":
            return PictureMeasures(plain, tenengrad(gray))
