from __future__ import annotations

import polars as pl
import pytest

from jobs.review.frames_apart import frames_apart
from schemas import FRAME_KEY

STEPS = pl.DataFrame({"stream_id": ["a", "b"], "step": [1, 10]}, schema={"stream_id": pl.String, "step": pl.Int64})
NOBODY = pl.DataFrame(schema={"stream_id": pl.String, "frame_idx": pl.Int64})
SCHEMA = {
    "stream_id": pl.String,
    "frame_idx": pl.Int64,
    "uncertainty": pl.Float32,
    "keep": pl.Boolean,
    "group_id": pl.String,
    "time_ns": pl.Int64,
}


def frames(*rows: tuple[str, int, float | None, bool | None, str | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, SCHEMA, orient="row")


def chosen(found: pl.DataFrame) -> list[tuple[str, int]]:
    return sorted(found.select(FRAME_KEY).iter_rows())


def test_kept_frames_come_first_and_then_the_most_uncertain() -> None:
    there = frames(("a", 0, 0.9, False, None, None), ("a", 5, 0.2, True, None, None), ("a", 9, None, True, None, None))
    for n, expected in ((1, [5]), (2, [5, 9]), (3, [0, 5, 9]), (None, [0, 5, 9])):
        assert [number for _, number in chosen(frames_apart(there, NOBODY, STEPS, 1.0, n))] == expected


@pytest.mark.parametrize(("spread", "expected"), [(0.5, [0, 1, 2, 3]), (1.0, [0, 2]), (2.0, [0, 3])])
def test_no_two_frames_of_a_stream_are_next_to_one_another(spread: float, expected: list[int]) -> None:
    there = frames(*(("a", at, 0.9 - at / 10, True, None, None) for at in range(4)))
    assert [number for _, number in chosen(frames_apart(there, NOBODY, STEPS, spread, None))] == expected
    # Numbers of another stream are ten to the second; in clips the time counts.
    there = frames(*(("b", 10 * at, 0.9 - at / 10, True, None, None) for at in range(4)))
    assert [number for _, number in chosen(frames_apart(there, NOBODY, STEPS, spread, None))] == [
        10 * number for number in expected
    ]
    there = frames(*(("b", 7 * at, 0.9 - at / 10, True, None, at * 10**9) for at in range(4)))
    assert [number // 7 for _, number in chosen(frames_apart(there, NOBODY, STEPS, spread, None))] == expected


def test_one_of_a_group_of_duplicates_is_enough_and_none_where_one_was_reviewed() -> None:
    there = frames(
        ("a", 0, 0.1, True, "g", None),
        ("b", 50, 0.9, True, "g", None),
        ("a", 20, 0.5, True, "h", None),
        ("a", 40, 0.6, True, "h", None),
    )
    assert chosen(frames_apart(there, NOBODY, STEPS, 1.0, None)) == [("a", 40), ("b", 50)]
    reviewed = pl.DataFrame({"stream_id": ["a"], "frame_idx": [0]})
    assert chosen(frames_apart(there, reviewed, STEPS, 1.0, None)) == [("a", 40)]
    assert frames_apart(there.clear(), NOBODY, STEPS, 1.0, 3).height == 0
