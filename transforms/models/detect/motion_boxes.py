"""Motion detection for fixed cameras by background subtraction, without weights or classes.

Limits: it detects changes against the recent past, so it boxes anything that moves (trees, waves, shadows), merges
adjacent moving objects, and does not see what stands still. A moving camera is recognised by edges, which stay in place
with a fixed camera; nothing is detected while it moves. Slow swaying is not recognised as camera motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from transforms.frames.image import Gray, shrink
from transforms.models.detect.detections import Bgr, Detections, FrameKey, Thresholds

_SAMPLES = 9
# Sorting network for the median of nine values: Devillard 1998, "Fast median search: an ANSI C implementation",
# after Paeth.
_MEDIAN_OF_NINE = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)
_BLUR = (5, 5)
# Camera motion is measured on tiles: their side in pixels, gradient of an edge, and shares of edge and changed pixels.
_TILE = 16
_EDGE = 60.0
_EDGE_SHARE = 0.02
_CHANGE_SHARE = 0.05
# In how many of a window's ten images a tile must have an edge, to be a lasting one.
_LASTING = 7


@dataclass(frozen=True)
class MotionBoxParams:
    """What counts as a moving object.

    `history`: number of previous frames from which the background is computed, at most; the result for a frame depends
    only on these.
    `warm_up`: least number of frames of one scene before anything is detected.
    `threshold`: difference of luma, 0..255, above which a pixel has changed.
    `min_share`: smallest box, as a share of the image.
    `all_over`: share of changed pixels above which the change counts as one of illumination, or a cut.
    `camera`: share of the tiles with lasting edges that change throughout, above which the camera moves.
    `long_side`: longer side of the image on which motion is detected, in pixels.
    """

    history: Annotated[int, Ge(_SAMPLES), Le(512)] = 36
    warm_up: Annotated[int, Ge(1)] = 5
    threshold: Annotated[float, Gt(0), Le(255)] = 18.0
    min_share: Annotated[float, Ge(0), Le(1)] = 0.0005
    all_over: Annotated[float, Gt(0), Le(1)] = 0.5
    camera: Annotated[float, Gt(0), Le(1)] = 0.4
    long_side: Annotated[int, Ge(64)] = 320


class MotionFrame(NamedTuple):
    """A preprocessed frame: the small grey image, and the frame's own width and height in pixels."""

    picture: Gray
    size: tuple[int, int]


class MotionDetector:
    """Detects moving objects on frames in the order of their stream.

    The `context` frames before the requested ones must be included, as far as they exist; then the result for a frame
    does not depend on where a call begins. Results for a call's first frames without context are based on less history.
    `step` is the largest difference between the numbers of two consecutive frames.
    """

    names: tuple[str, ...] = ("moving",)
    source = "motion"
    model = "median-background"
    weights_hash: str | None = None

    def __init__(self, params: MotionBoxParams, limits: Thresholds, step: int = 1) -> None:
        self._params = params
        self._limits = limits
        self._step = step
        self.context = params.history

    def __call__(self, frames: Sequence[Bgr], keys: Sequence[FrameKey]) -> list[Detections]:
        """Detect motion on (H, W, 3) uint8 BGR frames of one or more streams, each in order."""
        follows = [
            at > 0
            and keys[at - 1].stream_id == key.stream_id
            and 0 < key.frame_idx - keys[at - 1].frame_idx <= self._step
            for at, key in enumerate(keys)
        ]
        return self.detect([self.prepare(frame) for frame in frames], np.array(follows, np.bool_))

    def prepare(self, frame: Bgr) -> MotionFrame:
        """Preprocess a frame; may be called in any thread."""
        return MotionFrame(prepare(frame, self._params), (frame.shape[1], frame.shape[0]))

    def detect(self, frames: Sequence[MotionFrame], follows: npt.NDArray[np.bool_]) -> list[Detections]:
        """Detect motion on N preprocessed frames; `follows`, shape (N,), marks those right after the previous one."""
        found = moving_boxes([frame.picture for frame in frames], follows, self._params)
        return [_scaled(each, frame, self._limits) for each, frame in zip(found, frames, strict=True)]


def prepare(frame: Bgr, params: MotionBoxParams) -> Gray:
    """Return the small, blurred grey image of an (H, W, 3) frame, shape (h, w), uint8."""
    return cv2.GaussianBlur(shrink(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), params.long_side), _BLUR, 0)


def moving_boxes(pictures: Sequence[Gray], follows: npt.NDArray[np.bool_], params: MotionBoxParams) -> list[Detections]:
    """Return boxes of what differs from the background, in pixels of N small images, each (h, w) uint8.

    `follows`, shape (N,), marks the images directly after their predecessor. The history is reset at others, where the
    size changes, and at cuts, where the whole image differs from the previous one.

    The background of an image is the pixelwise median of nine images spread evenly over the `history` before it, or
    over those since the reset. A global change of brightness is removed; a pixel counts with the smaller of its raw and
    its corrected difference. The score is 1 - threshold / mean difference within the box's patch: 0 at the threshold,
    0.5 at twice that. Nothing is detected where `camera_motion` of the image and those nine exceeds the limit.
    """
    found = []
    edges: dict[int, npt.NDArray[np.bool_]] = {}
    start = 0
    for at, picture in enumerate(pictures):
        previous = pictures[at - 1] if at else picture
        if not follows[at] or previous.shape != picture.shape or _is_cut(picture, previous, params):
            start = at
        n = min(at - start, params.history)
        if n < params.warm_up:
            found.append(Detections.none())
            continue
        # Counted back from the image, so that the rounding of halves to even does not depend on the start.
        chosen = at - 1 - np.rint(np.linspace(0, n - 1, _SAMPLES)).astype(np.int64)
        patches = _patches(picture, median_of_nine([pictures[i] for i in chosen]), params)
        if len(patches):
            window = [at, *chosen.tolist()]
            edges |= {i: _edges(pictures[i]) for i in window if i not in edges}
            share = camera_motion([pictures[i] for i in window], [edges[i] for i in window], params.threshold)
            patches = patches if share < params.camera else Detections.none()
        found.append(patches)
    return found


def camera_motion(window: Sequence[Gray], edges: Sequence[npt.NDArray[np.bool_]], threshold: float) -> float:
    """Return the share of tiles with edges that change throughout a window of equally sized images, newest first: 0..1.

    Of the tiles that have edges in most of the images, it is the share that differs between an image and the next but
    one; of all such pairs the second smallest, so that an object that passes close by, which does not cover everything
    all the time, does not count as camera motion. `edges` has for each image which tiles have edges. 0 if no tile has
    lasting edges.
    """
    lasting = np.sum(edges, axis=0) >= min(_LASTING, len(edges))
    n = int(lasting.sum())
    if not n:
        return 0.0
    pairs = zip(window, window[2:], strict=False)
    return sorted(float((_changed(a, b, threshold) & lasting).sum()) / n for a, b in pairs)[1]


def _edges(picture: Gray) -> npt.NDArray[np.bool_]:
    across, down = cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return _tiles(cv2.magnitude(across, down) > _EDGE) > _EDGE_SHARE


def _changed(picture: Gray, other: Gray, threshold: float) -> npt.NDArray[np.bool_]:
    signed = cv2.subtract(picture, other, dtype=cv2.CV_16S)
    # A sixteenth of the pixels is enough to estimate the change of brightness.
    shared = np.int16(np.median(signed[::4, ::4]))
    difference = np.minimum(np.abs(signed), np.abs(signed - shared)) if shared else np.abs(signed)
    return _tiles(difference > threshold) > _CHANGE_SHARE


def _tiles(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the share of set pixels in each tile of an (h, w) mask."""
    height, width = mask.shape
    size = (max(1, width // _TILE), max(1, height // _TILE))
    shares = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(shares, np.float32)


def median_of_nine(pictures: Sequence[Gray]) -> Gray:
    """Return the pixelwise median of nine images of one size."""
    held = list(pictures)
    for low, high in _MEDIAN_OF_NINE:
        held[low], held[high] = cv2.min(held[low], held[high]), cv2.max(held[low], held[high])
    return held[4]


def _difference(picture: Gray, other: Gray) -> npt.NDArray[np.float32]:
    signed = cv2.subtract(picture, other, dtype=cv2.CV_16S)
    counts = np.bincount((signed.reshape(-1) + 255).astype(np.int64), minlength=511)
    shared = int(np.searchsorted(np.cumsum(counts), signed.size / 2)) - 255
    return np.minimum(np.abs(signed), np.abs(signed - shared)).astype(np.float32)


def _is_cut(picture: Gray, previous: Gray, params: MotionBoxParams) -> bool:
    return bool((_difference(picture, previous) > params.threshold).mean() > params.all_over)


def _patches(picture: Gray, background: Gray, params: MotionBoxParams) -> Detections:
    difference = _difference(picture, background)
    changed = (difference > params.threshold).astype(np.uint8)
    if changed.mean() > params.all_over:
        return Detections.none()
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    joined = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    n, patch_of, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    weights = np.bincount(patch_of[changed > 0], difference[changed > 0], minlength=n)
    sizes = np.bincount(patch_of[changed > 0], minlength=n)
    mean = weights / np.maximum(sizes, 1)
    boxes = boxes[:, :4]
    large = (boxes[:, 2] * boxes[:, 3] >= params.min_share * picture.size) & (sizes > 0)
    large[0] = False
    scores = 1 - params.threshold / np.maximum(mean[large], params.threshold)
    chosen = boxes[large].astype(np.float32)
    corners = np.concatenate([chosen[:, :2], chosen[:, :2] + chosen[:, 2:]], axis=1)
    return Detections.of_corners(corners, scores, np.zeros(len(scores), np.int64))


def _scaled(found: Detections, frame: MotionFrame, limits: Thresholds) -> Detections:
    """Scale boxes from the small image to the frame, and apply the limits."""
    across, down = (own / small for own, small in zip(frame.size, frame.picture.shape[::-1], strict=True))
    factor = np.array([across, down, across, down], np.float32)
    n = min(int((found.scores >= limits.min_score).sum()), limits.max_objects)
    boxes = found.boxes[:n] * factor
    # Rounding may put a right or bottom edge beyond the frame by less than a thousandth of a pixel.
    size = np.array(frame.size, np.float32)
    room = size - boxes[:, :2]
    beyond = boxes[:, :2].astype(np.float64) + room > size
    boxes[:, 2:] = np.minimum(boxes[:, 2:], np.where(beyond, np.nextafter(room, np.float32(0)), room))
    return Detections(boxes, found.scores[:n], found.labels[:n])
