from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.splits import assign_splits, joined_keys

FRACTIONS = {"train": 0.8, "val": 0.2}


def keys(names: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(names, pa.string())])


def test_shares_approximate_the_fractions() -> None:
    found = assign_splits(keys([f"g{i}" for i in range(20_000)]), FRACTIONS, 0).to_pylist()
    assert abs(found.count("train") / 20_000 - 0.8) < 0.01
    assert set(found) == {"train", "val"}


@given(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=30), st.integers(0, 5))
def test_the_split_of_a_key_does_not_depend_on_other_keys(names: list[str], seed: int) -> None:
    together = assign_splits(keys(names), FRACTIONS, seed).to_pylist()
    assert together == [assign_splits(keys([name]), FRACTIONS, seed)[0].as_py() for name in names]


def test_another_seed_gives_another_split() -> None:
    names = keys([f"g{i}" for i in range(200)])
    assert assign_splits(names, FRACTIONS, 0).to_pylist() != assign_splits(names, FRACTIONS, 1).to_pylist()


def test_a_single_split_gets_every_row() -> None:
    assert set(assign_splits(keys(["a", "b", "c"]), {"all": 1.0}, 0).to_pylist()) == {"all"}


def test_streams_that_share_duplicates_have_one_key() -> None:
    rows = pa.table(
        {
            "stream_id": ["a", "a", "b", "c", "c", "d", "e"],
            "group_id": ["1", "2", "2", "3", "1", "4", None],
        }
    )
    found = dict(
        zip(rows["stream_id"].to_pylist(), joined_keys(rows["stream_id"], rows["group_id"]).to_pylist(), strict=True)
    )
    assert found == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e"}


def test_units_are_joined_by_every_link() -> None:
    units, groups = keys(["a", "b", "c", "d"]), pa.chunked_array([pa.array(["1", "1", None, None], pa.string())])
    contents = keys(["w", "x", "x", "z"])
    assert joined_keys(units, groups, contents).to_pylist() == ["a", "a", "a", "d"]
