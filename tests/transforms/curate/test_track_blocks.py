from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.track_blocks import joined_by_tracks, tracks_to_cut

FRACTIONS = {"train": 0.8, "val": 0.2}
NAMES = {"t": "train", "v": "val"}


def blocks(splits: str, frames: int = 10) -> pl.DataFrame:
    """Blocks 0, 1, … of one stream by the letter of their split."""
    n = len(splits)
    columns = {"stream_id": ["cam"] * n, "block": list(range(n)), "frames": [frames] * n}
    columns |= {
        "split": [NAMES[s] for s in splits],
        "place": [0.8 * (s == "v") + at / n / 10 for at, s in enumerate(splits)],
    }
    return pl.DataFrame(columns)


def tracks(*spans: tuple[int, int]) -> pl.DataFrame:
    columns = {"stream_id": ["cam"] * len(spans), "first": [a for a, _ in spans], "last": [b for _, b in spans]}
    columns["frames"] = [10 * (b - a) + 5 for a, b in spans]
    return pl.DataFrame(
        columns, schema={"stream_id": pl.String, "first": pl.Int64, "last": pl.Int64, "frames": pl.Int64}
    )


def joined(splits: str, *spans: tuple[int, int]) -> tuple[str, list[int]]:
    found = joined_by_tracks(blocks(splits), tracks(*spans), FRACTIONS)
    return "".join(split[0] for split in found["split"]), found["unit"].to_list()


def test_blocks_that_no_track_connects_stay_as_they_are() -> None:
    assert joined("ttvttttvtt") == ("ttvttttvtt", list(range(10)))
    # Nor do those change that a track connects within one split.
    assert joined("ttvttttvtt", (3, 6)) == ("ttvttttvtt", list(range(10)))


def test_blocks_that_a_track_connects_are_in_one_split() -> None:
    # The joined blocks are in train; of the others, that of val stays there, and another one makes up for the first.
    assert joined("ttvttttvtt", (1, 3)) == ("tttttttvtv", [0, 1, 1, 1, 4, 5, 6, 7, 8, 9])


def test_another_block_goes_to_a_split_that_would_have_none() -> None:
    split, units = joined("ttvttttttt", (1, 3))
    assert units == [0, 1, 1, 1, 4, 5, 6, 7, 8, 9]
    assert split[1:4] == "ttt"
    assert split.count("v") == 2


def test_a_track_on_everything_joins_nothing() -> None:
    # What is on nearly everything may leave the other split half of what it should have.
    assert joined("ttvttttvtt", (0, 9)) == ("ttvttttvtt", list(range(10)))
    split, units = joined("ttvttttvtt", (0, 8))
    assert (split, set(units)) == ("tttttttttv", {0, 9})


@given(
    st.text("tv", min_size=4, max_size=20),
    st.lists(st.tuples(st.integers(0, 19), st.integers(1, 6)), max_size=12),
)
def test_no_split_is_without_blocks_and_no_more_is_joined_than_one_should_have(
    splits: str, spans: list[tuple[int, int]]
) -> None:
    n = len(splits)
    split, units = joined(splits, *[(a % n, min(a % n + m, n - 1)) for a, m in spans])
    for unit in set(units):
        members = [at for at, each in enumerate(units) if each == unit]
        assert members == list(range(unit, unit + len(members)))
        assert len({split[at] for at in members}) == 1
        assert len(members) <= 0.9 * n
    if split != splits:
        assert set(split) == {"t", "v"}


def cut(splits: str, *spans: tuple[int, int], given: bool = False) -> list[str]:
    frames = pl.DataFrame(
        {"stream_id": ["cam"] * len(splits), "split": [NAMES[s] for s in splits], "given": [given] * len(splits)}
    )
    rows = [(row, f"{a}-{b}") for a, b in spans for row in range(a, b + 1)]
    table = pl.DataFrame(rows, schema={"row": pl.Int64, "track": pl.String}, orient="row")
    return list(tracks_to_cut(frames, table, FRACTIONS))


def test_tracks_are_cut_as_long_as_half_of_the_largest_split_is_kept() -> None:
    assert cut("ttttttttvv", (5, 8)) == ["5-8"]
    assert cut("ttttttttvv", (4, 9)) == ["4-9"]
    assert cut("ttttttttvv", (3, 9)) == []
    # Frames that two tracks share are lost once.
    assert cut("ttttttttvv", (4, 9), (5, 8)) == ["5-8", "4-9"]
    # What is in one split needs no cut; frames that are given stay, and cost nothing.
    assert cut("ttttttttvv", (0, 7)) == []
    assert cut("ttttttttvv", (0, 9), given=True) == ["0-9"]
