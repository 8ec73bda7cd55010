from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import noise
from transforms.models.detect.detections import Detections, FrameKey, Thresholds
from transforms.models.detect.motion_boxes import MotionBoxParams, MotionDetector, MotionFrame, _scaled, median_of_nine

PARAMS = MotionBoxParams(history=20)
N = 60


def keys(numbers: list[int]) -> list[FrameKey]:
    return [FrameKey("cam", n, n) for n in numbers]


def scene(at: int, seed: int = 1) -> npt.NDArray[np.uint8]:
    """Return a static texture of 320x180 with a bright square of 24 that moves 4 pixels per frame, under flicker."""
    frame = noise(seed, 180, 320) // 2
    frame[60:84, 4 * at : 4 * at + 24] = 240
    bright = np.clip(frame.astype(np.int16) + (at % 3) * 6, 0, 255).astype(np.uint8)
    return np.repeat(bright[:, :, None], 3, axis=2)


@lru_cache(maxsize=1)
def stream() -> list[npt.NDArray[np.uint8]]:
    return [scene(at) for at in range(N)]


@settings(deadline=None)
@given(st.integers(64, 8192), st.integers(64, 8192), st.integers(0, 319), st.integers(0, 319))
@example(768, 432, 215, 100)
def test_no_box_extends_beyond_the_frame(width: int, height: int, left: int, top: int) -> None:
    corners = np.array([[left, min(top, 178), 320, 180]], np.float32)
    found = Detections.of_corners(corners, np.array([0.9]), np.array([0]))
    frame = MotionFrame(np.zeros((180, 320), np.uint8), (width, height))
    (box,) = _scaled(found, frame, Thresholds(0.2, 1.0, 300)).boxes
    for at, size in enumerate((width, height)):
        assert size - 0.01 < float(box[at]) + float(box[at + 2]) <= size
        assert box[at] + box[at + 2] <= np.float32(size)


def test_only_the_square_is_boxed() -> None:
    found = MotionDetector(PARAMS, Thresholds(0.2, 1.0, 300))(stream(), keys(list(range(N))))
    assert [len(f) for f in found[:5]] == [0] * 5
    for at in range(20, N):
        assert len(found[at]) == 1
        x, y, w, h = found[at].boxes[0]
        assert abs(x + w - (4 * at + 24)) <= 8
        assert abs(y - 60) <= 6
        assert 20 <= h <= 36
        assert found[at].scores[0] > 0.5


@settings(max_examples=6, deadline=None)
@given(st.integers(0, N - 1), st.integers(1, 12))
def test_results_do_not_depend_on_where_a_call_begins(first: int, n: int) -> None:
    detector = MotionDetector(PARAMS, Thresholds(0.2, 1.0, 300))
    whole = detector(stream(), keys(list(range(N))))
    start, end = max(0, first - detector.context), min(N, first + n)
    part = detector(stream()[start:end], keys(list(range(start, end))))[first - start :]
    for one, other in zip(part, whole[first:end], strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("break_", ["gap", "cut", "stream"])
def test_the_history_is_reset_at_gaps_cuts_and_other_streams(break_: str) -> None:
    numbers = list(range(24))
    frames = [scene(at) for at in range(12)] + [scene(at, seed=9 if break_ == "cut" else 1) for at in range(12, 24)]
    chosen = keys(numbers)
    if break_ == "gap":
        chosen = keys([*range(12), *range(13, 25)])
    elif break_ == "stream":
        chosen = [k._replace(stream_id="other") if k.frame_idx >= 12 else k for k in chosen]
    found = MotionDetector(PARAMS, Thresholds(0.2, 1.0, 300))(frames, chosen)
    assert len(found[11]) == 1
    assert [len(f) for f in found[12:17]] == [0] * 5
    assert len(found[20]) >= 1


def test_boxes_are_in_pixels_of_the_frame() -> None:
    large = [np.repeat(np.repeat(f, 2, axis=0), 2, axis=1) for f in stream()[:25]]
    found = MotionDetector(PARAMS, Thresholds(0.2, 1.0, 300))(large, keys(list(range(25))))
    x, y, w, _ = found[24].boxes[0]
    assert abs(x + w - 2 * (4 * 24 + 24)) <= 16
    assert abs(y - 120) <= 12


def test_median_of_nine_is_the_median() -> None:
    pictures = np.random.default_rng(3).integers(0, 256, (9, 16, 20), dtype=np.uint8)
    assert np.array_equal(median_of_nine(list(pictures)), np.median(pictures, axis=0))


def test_nothing_is_detected_where_the_whole_image_changes() -> None:
    frames = [scene(0, seed=n)[:, :, :] for n in range(12)]
    assert all(len(f) == 0 for f in MotionDetector(PARAMS, Thresholds(0.0, 1.0, 300))(frames, keys(list(range(12)))))


def street(at: int) -> npt.NDArray[np.uint8]:
    """Return 320x180 of a plain ground with posts, from a camera that moves 3 pixels per frame."""
    wide = np.full((180, 640), 90, np.uint8)
    for x in range(0, 640, 40):
        wide[(x * 7) % 120 : (x * 7) % 120 + 60, x : x + 8] = 200
    return np.repeat(wide[:, 3 * at : 3 * at + 320, None], 3, axis=2)


def test_camera_motion_is_recognised_by_edges() -> None:
    limits, numbers = Thresholds(0.0, 1.0, 300), keys(list(range(N)))
    moving = [street(at) for at in range(N)]
    assert sum(map(len, MotionDetector(PARAMS, limits)(moving, numbers))) == 0
    # Only a small share of pixels changes, so that the differences would be boxed otherwise.
    assert sum(map(len, MotionDetector(replace(PARAMS, camera=1.0), limits)(moving, numbers))) > N
    # With a fixed camera, an object half as large as the image is detected anywhere.
    fixed = [street(0) for _ in range(N)]
    for at, frame in enumerate(fixed):
        frame[20:, 4 * at : 4 * at + 100] = 240
    found = MotionDetector(PARAMS, limits)(fixed, numbers)
    assert [len(each) > 0 for each in found] == [at >= PARAMS.warm_up for at in range(N)]
