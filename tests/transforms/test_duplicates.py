from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from transforms.duplicates import INPUT, DuplicateParams, Grouping, group_frames
from transforms.hashing import to_hex

Frame = tuple[str, int, int, int]
"""Stream, number, content, hash."""

NOTHING = schemas.DUPLICATES.file_schema.empty_table()


def table(frames: list[Frame]) -> pa.Table:
    streams, index, content, words = zip(*frames, strict=True) if frames else ((), (), (), ())
    return pa.table(
        {
            "stream_id": pa.array(streams, pa.string()),
            "frame_idx": pa.array(index, pa.int64()),
            "content_id": pa.array(content, pa.int64()),
            "phash": to_hex(np.array(words, np.uint64)),
        },
        schema=INPUT,
    )


def applied(old: pa.Table, grouping: Grouping) -> pa.Table:
    """Return the rows of the table after a grouping was committed."""
    left = pl.DataFrame(old).join(pl.DataFrame(grouping.removed), on=schemas.FRAME_KEY, how="anti")
    return pl.concat([left, pl.DataFrame(grouping.added)]).to_arrow().cast(schemas.DUPLICATES.file_schema)


def grouped(
    frames: list[Frame], params: DuplicateParams | None = None, old: pa.Table = NOTHING
) -> dict[tuple[str, int], tuple[str, int]]:
    """Return which frame represents each frame."""
    rows = applied(old, group_frames(table(frames), old, params or DuplicateParams())).to_pylist()
    assert len(rows) == len({(r["stream_id"], r["frame_idx"]) for r in rows})
    return {(r["stream_id"], r["frame_idx"]): (r["representative_stream"], r["representative_idx"]) for r in rows}


def test_members_join_representatives_within_the_distance() -> None:
    found = grouped([("a", 0, 1, 0), ("a", 1, 2, 0b111), ("a", 2, 3, 2**63 - 1), ("a", 3, 4, 0b1111110)])
    assert found == {("a", 0): ("a", 0), ("a", 1): ("a", 0), ("a", 2): ("a", 2), ("a", 3): ("a", 0)}


def test_distance_and_confidence() -> None:
    rows = group_frames(
        table([("a", 0, 1, 0), ("a", 1, 1, 0), ("a", 2, 2, 0), ("a", 3, 3, 0b1111)]), NOTHING, DuplicateParams()
    )
    found = rows.added.to_pylist()
    assert [r["hamming"] for r in found] == [0, 0, 0, 4]
    assert [r["confidence"] for r in found] == [1.0, 1.0, pytest.approx(0.99), pytest.approx(0.99 * (1 - 4 / 32))]
    assert [r["is_representative"] for r in found] == [True, False, False, False]
    assert len({r["group_id"] for r in found}) == 1


def test_scope_of_the_stream_keeps_streams_apart() -> None:
    frames = [("a", 0, 1, 0), ("b", 0, 1, 0), ("b", 1, 2, 1)]
    assert grouped(frames)[("b", 0)] == ("a", 0)
    own = grouped(frames, DuplicateParams(scope="stream"))
    assert own == {("a", 0): ("a", 0), ("b", 0): ("b", 0), ("b", 1): ("b", 0)}


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40), st.sampled_from(["stream", "workspace"]))
def test_order_of_the_rows_does_not_matter(random: object, n: int, scope: str) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    words = rng.integers(0, 2**10, n)
    frames = [("ab"[i % 2], i, int(words[i]) + 1, int(words[i])) for i in range(n)]
    shuffled = [frames[i] for i in rng.permutation(n)]
    params = DuplicateParams(hamming=3, scope=scope)  # type: ignore[arg-type]
    assert grouped(frames, params) == grouped(shuffled, params)


def test_new_frames_join_old_groups_whose_ids_stay() -> None:
    first = group_frames(table([("b", 0, 1, 0), ("b", 1, 2, 2**40 - 1)]), NOTHING, DuplicateParams())
    old = applied(NOTHING, first)
    # A frame that would have come first, had it been there from the start.
    second = group_frames(table([("a", 0, 3, 1), ("b", 0, 1, 0), ("b", 1, 2, 2**40 - 1)]), old, DuplicateParams())
    assert second.removed.num_rows == 0
    assert [(r["stream_id"], r["representative_stream"]) for r in second.added.to_pylist()] == [("a", "b")]
    assert second.added["group_id"][0] == old["group_id"][0]


def test_nothing_new_changes_nothing() -> None:
    frames = table([("a", i, i + 1, i * 7) for i in range(20)])
    old = applied(NOTHING, group_frames(frames, NOTHING, DuplicateParams()))
    again = group_frames(frames, old, DuplicateParams())
    assert (again.added.num_rows, again.removed.num_rows) == (0, 0)


def test_a_vanished_representative_regroups_its_members_only() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1), ("a", 2, 3, 3), ("a", 10, 4, 2**50 - 1), ("a", 11, 5, 2**50 - 2)]
    old = applied(NOTHING, group_frames(table(frames), NOTHING, DuplicateParams()))
    left = group_frames(table(frames[1:]), old, DuplicateParams())
    assert sorted(r["frame_idx"] for r in left.removed.to_pylist()) == [0, 1, 2]
    assert grouped(frames[1:], old=old) == {
        ("a", 1): ("a", 1),
        ("a", 2): ("a", 1),
        ("a", 10): ("a", 10),
        ("a", 11): ("a", 10),
    }


def test_a_replaced_member_is_grouped_anew() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1)]
    old = applied(NOTHING, group_frames(table(frames), NOTHING, DuplicateParams()))
    assert grouped([("a", 0, 1, 0), ("a", 1, 9, 2**60 - 1)], old=old) == {("a", 0): ("a", 0), ("a", 1): ("a", 1)}


def test_a_replaced_representative_frees_its_members() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1)]
    old = applied(NOTHING, group_frames(table(frames), NOTHING, DuplicateParams()))
    changed = [("a", 0, 9, 2**60 - 1), ("a", 1, 2, 1)]
    rows = group_frames(table(changed), old, DuplicateParams())
    assert rows.removed.num_rows == 2
    assert grouped(changed, old=old) == {("a", 0): ("a", 0), ("a", 1): ("a", 1)}
    assert not set(rows.added["group_id"].to_pylist()) & set(old["group_id"].to_pylist())


def test_no_frames() -> None:
    assert grouped([]) == {}
