from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from jobs.passes.context_frames import in_runs, window_ids, with_those_before

STEPS = pl.DataFrame({"stream_id": ["a", "b"], "step": [1, 10]})


def frames(a: list[int], b: list[int], content: int = 0) -> pl.DataFrame:
    streams = ["a"] * len(a) + ["b"] * len(b)
    known = pl.DataFrame(
        {"stream_id": pl.Series(streams, dtype=pl.String), "frame_idx": pl.Series([*a, *b], dtype=pl.Int64)}
    )
    return in_runs(known.with_columns(input_id=pl.col("frame_idx") * 7 + content), STEPS)


def test_frames_follow_one_another_within_their_streams_step() -> None:
    assert frames([1, 2, 4, 5], [0, 10, 30, 35])["follows"].to_list() == [False, True, False, True] * 2


def changed(at: int, numbers: list[int], context: int) -> list[int]:
    """Which ids are others once the content of one frame is another."""
    before = frames(numbers, [])
    after = before.with_columns(input_id=pl.col("input_id") + (pl.col("frame_idx") == numbers[at]).cast(pl.Int64))
    differ = window_ids(before, context) != window_ids(after, context)
    return [numbers[i] for i in np.flatnonzero(differ)]


def test_the_input_id_of_a_frame_covers_the_frames_before_it_up_to_a_gap() -> None:
    numbers = [0, 1, 2, 3, 4, 5, 9, 10]
    assert changed(1, numbers, 2) == [1, 2, 3]
    assert changed(4, numbers, 3) == [4, 5]
    assert changed(7, numbers, 3) == [10]


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 6), st.integers(0, 40))
def test_frames_before_the_context_do_not_change_the_input_id(numbers: set[int], context: int, first: int) -> None:
    every = frames(sorted(numbers), [])
    part = frames([n for n in sorted(numbers) if n >= first - context], [])
    ids = dict(zip(every["frame_idx"], window_ids(every, context).tolist(), strict=True))
    assert all(
        ids[n] == one
        for n, one in zip(part["frame_idx"], window_ids(part, context).tolist(), strict=True)
        if n >= first
    )


def test_context_frames_are_read_with_the_wanted_ones() -> None:
    known = frames([0, 1, 2, 3, 4, 5], [0, 10])
    asked = known.filter(
        (pl.col("stream_id") == "b") & (pl.col("frame_idx") == 0) | (pl.col("frame_idx").is_in([2, 5]))
    )
    wanted = asked.with_columns(wanted=True, replaces=True)
    found = with_those_before(known, wanted, 1)
    assert found.select("stream_id", "frame_idx", "wanted", "replaces").rows() == [
        ("a", 1, False, False),
        ("a", 2, True, True),
        ("a", 4, False, False),
        ("a", 5, True, True),
        ("b", 0, True, True),
    ]
