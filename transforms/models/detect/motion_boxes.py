"""Boxes of what moves on a fixed camera: no weights, no classes.

Honest about what it is: it finds changes against the recent past, so it boxes whatever moves (trees, waves, shadows),
joins what moves side by side, and sees nothing that stands still. A camera that moves itself is told by what has edges:
on a fixed one these stay where they are. Where they do not, nothing is found; what sways slowly passes for fixed.
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
# Compare and exchange until the middle of nine is in place: Devillard 1998, "Fast median search: an ANSI C
# implementation", after Paeth.
_MEDIAN_OF_NINE = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)
_BLUR = (5, 5)
# What is looked at for motion of the camera: tiles of so many pixels, with so much of an edge, or of change, in them.
_TILE = 16
_EDGE = 60.0
_EDGE_SHARE = 0.02
_CHANGE_SHARE = 0.05
# Pictures of a window that have an edge in the same tile, of the ten.
_LASTING = 7


@dataclass(frozen=True)
class MotionBoxParams:
    """What counts as a moving thing.

    `history`: frames before a frame that its background is made of, at most; the result for a frame depends on these
    and on nothing else.
    `warm_up`: frames of one scene that there must have been for anything to be found.
    `threshold`: difference of luma, 0..255, from which on a pixel has changed.
    `min_share`: smallest box, as a share of the picture.
    `all_over`: share of changed pixels from which on it is the light that changed, or a cut.
    `camera`: share of the tiles with lasting edges that change throughout from which on it is the camera that moves.
    `long_side`: size of the picture that is looked at, in pixels.
    """

    history: Annotated[int, Ge(_SAMPLES), Le(512)] = 36
    warm_up: Annotated[int, Ge(1)] = 5
    threshold: Annotated[float, Gt(0), Le(255)] = 18.0
    min_share: Annotated[float, Ge(0), Le(1)] = 0.0005
    all_over: Annotated[float, Gt(0), Le(1)] = 0.5
    camera: Annotated[float, Gt(0), Le(1)] = 0.4
    long_side: Annotated[int, Ge(64)] = 320


class MotionFrame(NamedTuple):
    """A frame made ready: the small grey picture, and the frame's own width and height in pixels."""

    picture: Gray
    size: tuple[int, int]


class MotionDetector:
    """Finds what moves, given frames in the order of their stream.

    Before the frames that are asked about, the `context` frames before them must be given, as far as there are any:
    then what is found on a frame does not depend on where a call began. What is found on the first frames of a call
    without them is found on less. `step` is the difference of number up to which two frames follow one another.
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
        """Look at (H, W, 3) uint8 BGR frames of one or more streams, each in order; all but the context counts."""
        follows = [
            at > 0
            and keys[at - 1].stream_id == key.stream_id
            and 0 < key.frame_idx - keys[at - 1].frame_idx <= self._step
            for at, key in enumerate(keys)
        ]
        return self.detect([self.prepare(frame) for frame in frames], np.array(follows, np.bool_))

    def prepare(self, frame: Bgr) -> MotionFrame:
        """Make a frame ready; may be called in any thread."""
        return MotionFrame(prepare(frame, self._params), (frame.shape[1], frame.shape[0]))

    def detect(self, frames: Sequence[MotionFrame], follows: npt.NDArray[np.bool_]) -> list[Detections]:
        """Look at N frames that were made ready; `follows`, shape (N,), says which come right after the one before."""
        found = moving_boxes([frame.picture for frame in frames], follows, self._params)
        return [_scaled(each, frame, self._limits) for each, frame in zip(found, frames, strict=True)]


def prepare(frame: Bgr, params: MotionBoxParams) -> Gray:
    """Return the small grey picture of an (H, W, 3) frame that differences are taken on, shape (h, w), uint8."""
    return cv2.GaussianBlur(shrink(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), params.long_side), _BLUR, 0)


def moving_boxes(pictures: Sequence[Gray], follows: npt.NDArray[np.bool_], params: MotionBoxParams) -> list[Detections]:
    """Return boxes of what differs from the background, in pixels of N small pictures, each (h, w) uint8.

    `follows`, shape (N,), says which picture comes right after the one before it. Where one does not, where its size
    differs, and where it differs from the one before it all over (a cut), the past is forgotten.

    The background of a picture is the median, pixel by pixel, of nine pictures spread evenly over the `history` before
    it, or over those since the past was forgotten. A change of brightness that the whole picture shares is taken out;
    a pixel counts with the smaller of its raw and its corrected difference. The score is 1 - threshold / mean
    difference within the box's patch: 0 for what just passes, 0.5 for twice that. Where the camera itself moves, by
    `camera_motion` of the picture and those nine, nothing is found.
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
        # Counted back from the picture: halves are rounded to even numbers, whatever is counted from the start.
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
    """Return how much of what has edges changes throughout a window of pictures of one size, newest first: 0..1.

    Of the tiles that have edges in most of the pictures, the share that differs between a picture and the next but one;
    of all such pairs the second least, so that a thing that passes close by, which is not everywhere all the time, does
    not count as motion of the camera. `edges` has for each picture which tiles have any. 0 where none last.
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
    # A change of brightness is seen as well on a sixteenth of the pixels.
    shared = np.int16(np.median(signed[::4, ::4]))
    difference = np.minimum(np.abs(signed), np.abs(signed - shared)) if shared else np.abs(signed)
    return _tiles(difference > threshold) > _CHANGE_SHARE


def _tiles(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the share of pixels that are set in each tile of an (h, w) mask."""
    height, width = mask.shape
    size = (max(1, width // _TILE), max(1, height // _TILE))
    shares = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(shares, np.float32)


def median_of_nine(pictures: Sequence[Gray]) -> Gray:
    """Return the median of nine pictures of one size, pixel by pixel."""
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
    """Bring boxes from the small picture to the frame, as many as the limits allow."""
    across, down = (own / small for own, small in zip(frame.size, frame.picture.shape[::-1], strict=True))
    factor = np.array([across, down, across, down], np.float32)
    n = min(int((found.scores >= limits.min_score).sum()), limits.max_objects)
    boxes = found.boxes[:n] * factor
    # Rounding may have put a right or lower edge beyond that of the frame, by less than a thousandth of a pixel.
    size = np.array(frame.size, np.float32)
    room = size - boxes[:, :2]
    beyond = boxes[:, :2].astype(np.float64) + room > size
    boxes[:, 2:] = np.minimum(boxes[:, 2:], np.where(beyond, np.nextafter(room, np.float32(0)), room))
    return Detections(boxes, found.scores[:n], found.labels[:n])
