from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.splits import assign_blocks
from transforms.curate.time_blocks import Length, default_block, left_out_at_borders, nearest_distance

FRACTIONS = {"train": 0.8, "val": 0.2}
NO_TRACKS = pl.DataFrame(schema={"row": pl.Int64, "track": pl.String})


def frames(splits: str, guard: float | None = 2.0, given_rows: tuple[int, ...] = ()) -> pl.DataFrame:
    """Frames 0, 1, … of one stream: `t` in train, `v` in val."""
    names = [{"t": "train", "v": "val"}[letter] for letter in splits]
    columns = {"stream_id": ["cam"] * len(names), "position": [float(n) for n in range(len(names))], "split": names}
    return pl.DataFrame(columns).with_columns(
        guard=pl.lit(guard, pl.Float64), given=pl.Series([n in given_rows for n in range(len(names))])
    )


def marked(which: pl.Series) -> list[int]:
    return which.arg_true().to_list()


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("250", Length(250)),
        ("90s", Length(90.0, "seconds")),
        ("1.5 min", Length(90.0, "seconds")),
        ("20 frames", Length(20)),
    ],
)
def test_a_length_is_frames_or_a_time(text: str, length: Length) -> None:
    assert Length.parse(text) == length


@pytest.mark.parametrize("text", ["", "ten", "1.5", "-3", "5 days"])
def test_other_texts_are_no_lengths(text: str) -> None:
    with pytest.raises(ValueError, match="expected whole frames or a time"):
        Length.parse(text)


def test_a_stream_has_two_blocks_of_its_smallest_split() -> None:
    assert default_block(span=1394, least_guard=2, smallest=0.2) == 100
    assert default_block(span=2100, least_guard=2, smallest=0.2) == 200
    # Frames that are far apart need longer blocks.
    assert default_block(span=1394, least_guard=80, smallest=0.2) == 320


@given(st.integers(0, 3), st.integers(0, 10_000), st.sampled_from([0.1, 0.2, 0.3]))
def test_few_consecutive_blocks_reach_every_split(seed: int, first: int, smallest: float) -> None:
    n = round(3 / smallest)
    streams = pa.chunked_array([pa.array(["cam"] * n)])
    found = assign_blocks(streams, np.arange(first, first + n), {"train": 1 - smallest, "val": smallest}, seed)
    share = found.to_pylist().count("val") / n
    assert abs(share - smallest) < 0.75 * smallest


def test_distances_are_within_a_stream() -> None:
    some = pl.DataFrame({"stream_id": ["a", "b", "a", "c"], "position": [5, 5, 11, 1]})
    others = pl.DataFrame({"stream_id": ["a", "a", "b"], "position": [1, 10, 105]})
    assert nearest_distance(some, others).to_list() == [4, 100, 1, None]


def test_the_larger_split_gives_way_at_borders() -> None:
    near, shared = left_out_at_borders(frames("tttttvvvttttt", guard=3.0), NO_TRACKS, FRACTIONS)
    # Frames 2 and 10 are three away from a frame of val.
    assert marked(near) == [3, 4, 8, 9]
    assert marked(shared) == []


def test_frames_that_were_given_stay_and_others_give_way() -> None:
    near, _ = left_out_at_borders(frames("ttttvvvv", guard=3.0, given_rows=(0, 1, 2, 3)), NO_TRACKS, FRACTIONS)
    assert marked(near) == [4, 5]


def test_without_a_guard_no_frame_is_left_out() -> None:
    near, shared = left_out_at_borders(frames("ttvvtt", guard=None), NO_TRACKS, FRACTIONS)
    assert marked(near | shared) == []


def test_a_track_is_in_one_split() -> None:
    tracks = pl.DataFrame({"row": [2, 4, 6, 9, 10], "track": ["x", "x", "y", "y", "z"]})
    near, shared = left_out_at_borders(frames("tttttvvvttttt", guard=1.0), tracks, FRACTIONS)
    assert marked(near) == []
    # Track y is in val and in train; x and z are in train alone.
    assert marked(shared) == [9]


@given(st.lists(st.sampled_from("tv"), min_size=1, max_size=60), st.integers(1, 6))
def test_no_two_splits_are_nearer_than_the_guard(letters: list[str], guard: int) -> None:
    rows = frames("".join(letters), guard=float(guard))
    near, _ = left_out_at_borders(rows, NO_TRACKS, FRACTIONS)
    left = rows.filter(~near)
    distance = nearest_distance(left.filter(split="train"), left.filter(split="val")).drop_nulls()
    assert (distance >= guard).all()
    assert not near.filter(rows["split"] == "val").any()
