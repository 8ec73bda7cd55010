"""Tracks of boxes whose courses are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.models.track import Boxes, Int64Array, TrackParams, follow

pytest.importorskip("scipy", reason="the extra `annotate` is not installed")
Box = tuple[int, tuple[float, float, float, float], float, int]
"""Frame, left, top, width, height, score, category."""


def boxes(*found: Box) -> Boxes:
    ordered = sorted(found, key=lambda box: box[0])
    place, xywh, score, category = zip(*ordered, strict=True) if ordered else ((), (), (), ())
    return Boxes(
        np.array(place, np.int64),
        np.array(xywh, float).reshape(-1, 4),
        np.array(score, float),
        np.array(category, np.int64),
    )


def tracks(found: Boxes, n: int, begins: Sequence[int] = (), params: TrackParams | None = None) -> Int64Array:
    starts = np.zeros(n, np.bool_)
    starts[[0, *begins]] = True
    return follow(found, np.arange(n), starts, params or TrackParams())


def car(frame: int, x: float, y: float = 100, score: float = 0.9, category: int = 0) -> Box:
    return (frame, (x, y, 40, 30), score, category)


def test_crossing_objects_keep_their_tracks() -> None:
    n = 20
    found = boxes(*(car(at, 10 * at) for at in range(n)), *(car(at, 190 - 10 * at, 118) for at in range(n)))
    numbers = tracks(found, n)
    right = {int(number) for number, y in zip(numbers, found.xywh[:, 1], strict=True) if y == 100}
    left = {int(number) for number, y in zip(numbers, found.xywh[:, 1], strict=True) if y == 118}
    assert (right, left) == ({1}, {2})


def test_a_track_survives_occlusion_and_low_scores_for_a_limited_time() -> None:
    there = [at for at in range(40) if not 10 <= at < 16]
    found = boxes(*(car(at, 6 * at, score=0.3 if at in {4, 5} else 0.9) for at in there))
    assert set(tracks(found, 40)) == {1}
    short = tracks(found, 40, params=TrackParams(lost=3))
    assert [int(n) for n in dict.fromkeys(short.tolist())] == [1, 2]
    # Boxes of low score begin no track.
    assert set(tracks(boxes(*(car(at, 6 * at, score=0.3) for at in range(9))), 9)) == {0}


def test_no_track_spans_a_cut() -> None:
    found = boxes(*(car(at, 100) for at in range(12)))
    assert tracks(found, 12, begins=[6]).tolist() == [1] * 6 + [2] * 6


def test_a_single_box_is_no_track() -> None:
    found = boxes(*(car(at, 100) for at in range(6)), car(3, 400))
    numbers = tracks(found, 6)
    assert numbers[found.xywh[:, 0] == 400].tolist() == [0]
    assert set(numbers[found.xywh[:, 0] == 100]) == {1}
    assert set(tracks(found, 6, params=TrackParams(min_frames=1))) == {1, 2}


@pytest.mark.parametrize(("by_category", "n"), [(False, 1), (True, 2)])
def test_tracking_by_category_keeps_a_track_to_one_category(by_category: bool, n: int) -> None:
    found = boxes(*(car(at, 100, category=at // 5) for at in range(10)))
    assert len(set(tracks(found, 10, params=TrackParams(by_category=by_category)))) == n


def test_time_between_frames_counts() -> None:
    """Track a car that is sampled on every fourth frame, four times as far apart."""
    times = np.array([0, 1, 2, 3, 4, 8, 12, 16])
    found = boxes(*(car(place, 8 * int(time)) for place, time in enumerate(times)))
    starts = np.arange(len(times)) == 0
    assert set(follow(found, times, starts, TrackParams())) == {1}
    assert set(follow(found, np.arange(len(times)), starts, TrackParams(min_iou=0.3))) != {1}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 29))
def test_later_frames_do_not_change_tracks(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    speeds = rng.integers(-4, 5, (4, 2))
    starts = rng.integers(50, 250, (4, 2))
    found = [
        (at, (*(starts[k] + speeds[k] * at + rng.normal(0, 1, 2)).tolist(), 40.0, 30.0), float(rng.uniform(0.05, 1)), 0)
        for at in range(30)
        for k in range(4)
        if rng.uniform() > 0.15
    ]
    whole = boxes(*found)
    first = boxes(*(box for box in found if box[0] < cut))
    numbers, earlier = tracks(whole, 30), tracks(first, cut)
    settled = first.place < cut - 1
    later = numbers[: len(earlier)]
    known = (earlier > 0) & settled
    np.testing.assert_array_equal(later[known], earlier[known])
    for number in set(numbers.tolist()) - {0}:
        on = whole.place[numbers == number]
        assert len(set(on.tolist())) == len(on) >= 2
