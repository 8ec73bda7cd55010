"""The order of a queue, with known answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.review.queue_order import Waiting, apart_rows, queue_order

NONE = np.nan


def waiting(**columns: list[Any]) -> Waiting:
    n = len(columns["uncertainty"])
    return Waiting(
        uncertainty=np.array(columns["uncertainty"], np.float64),
        keep=np.array(columns.get("keep", [True] * n)),
        chance=np.array(columns.get("chance", list(range(n))), np.int64),
        stream=np.array(columns.get("stream", [0] * n), np.int64),
        second=np.array(columns.get("second", [10.0 * at for at in range(n)]), np.float64),
        group=np.array(columns.get("group", [-1] * n), np.int64),
    )


def order(frames: Waiting, *reviewed: int, spread: float = 1.0) -> list[int]:
    done = np.zeros(len(frames.keep), np.bool_)
    done[list(reviewed)] = True
    return queue_order(frames, done, spread).tolist()


def test_kept_frames_come_first_then_the_most_uncertain_and_ties_by_chance() -> None:
    frames = waiting(
        uncertainty=[0.1, 0.9, NONE, 0.5, 0.5], keep=[True, False, True, True, True], chance=[0, 0, 0, 5, -5]
    )
    assert order(frames) == [4, 3, 0, 2, 1]
    assert order(frames, 3) == [4, 0, 2, 1]


def test_neighbours_and_duplicates_come_after_all_others() -> None:
    frames = waiting(
        uncertainty=[0.9, 0.8, 0.7, 0.6, 0.5],
        second=[0.0, 0.5, 50.0, 0.5, 90.0],
        stream=[0, 0, 0, 1, 1],
        group=[7, -1, 7, -1, -1],
    )
    assert order(frames) == [0, 3, 4, 1, 2]
    assert order(frames, spread=0.0) == [0, 1, 2, 3, 4]


def test_duplicates_of_reviewed_frames_come_late_and_are_not_among_the_first() -> None:
    frames = waiting(uncertainty=[0.9, 0.8, 0.7], group=[3, 3, -1])
    assert order(frames, 0) == [2, 1]
    done = np.array([True, False, False])
    assert apart_rows(frames, done, 1.0, None).tolist() == [2]
    assert apart_rows(frames, np.zeros(3, np.bool_), 1.0, 1).tolist() == [0]


def test_frames_without_a_time_are_near_none() -> None:
    frames = waiting(uncertainty=[0.9, 0.8], second=[NONE, NONE])
    assert order(frames) == [0, 1]
