from __future__ import annotations

import polars as pl

from transforms.core.intervals import place_in_intervals


def test_intervals_are_placed_within_their_stream() -> None:
    frames = pl.DataFrame({"stream_id": ["a", "a", "a", "b"], "frame_idx": [4, 5, 9, 5]})
    idle = pl.DataFrame({"stream_id": ["a"], "start_idx": [5], "end_idx": [8]})
    placed = place_in_intervals(frames, idle).sort("stream_id", "frame_idx")
    assert placed["interval"].to_list() == [None, 0, None, None]


def test_columns_of_the_interval_are_added() -> None:
    frames = pl.DataFrame({"stream_id": ["a", "a", "b"], "frame_idx": [7, 3, 2]})
    scenes = pl.DataFrame({"stream_id": ["a", "a"], "start_idx": [5, 0], "end_idx": [9, 4], "begins": ["cut", "start"]})
    placed = place_in_intervals(frames, scenes).sort("stream_id", "frame_idx")
    assert placed["begins"].to_list() == ["start", "cut", None]
    assert set(placed.columns) == {"stream_id", "frame_idx", "begins", "interval"}
