from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from transforms.curate.duplicates.grouping import INPUT, DuplicateParams, Grouping, group_frames
from transforms.metrics.hashing import layout_array, layout_column, to_hex
from transforms.models.embeddings import vector_column

Frame = tuple[str, int, int, int]
"""Stream, number, content, hash."""

BY_HASH = DuplicateParams(hamming=6, verify="none")
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
    rows = applied(old, group_frames(table(frames), old, params or BY_HASH)).to_pylist()
    assert len(rows) == len({(r["stream_id"], r["frame_idx"]) for r in rows})
    return {(r["stream_id"], r["frame_idx"]): (r["representative_stream"], r["representative_idx"]) for r in rows}


def test_members_join_representatives_within_the_distance() -> None:
    found = grouped([("a", 0, 1, 0), ("a", 1, 2, 0b111), ("a", 2, 3, 2**63 - 1), ("a", 3, 4, 0b1111110)])
    assert found == {("a", 0): ("a", 0), ("a", 1): ("a", 0), ("a", 2): ("a", 2), ("a", 3): ("a", 0)}


@settings(deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=24), st.integers(0, 2**32), st.sampled_from([0, 6, 10]))
def test_frames_of_the_same_bytes_share_a_group(shown: list[int], seed: int, hamming: int) -> None:
    # Few images, near in hash or equal, some of them unlike all the same; one of two cameras shows one at a time.
    random = np.random.default_rng(seed)
    words = random.choice(np.array([0, 0, 0b1, 0xFF, 0xFFF0], np.uint64), 8)
    layouts = random.integers(0, 256, (3, 64), np.uint8)[random.integers(0, 3, 8)]
    frames = [("ab"[at % 2], at, picture, int(words[picture])) for at, picture in enumerate(shown)]
    given = table(frames).append_column("layout", layout_column(layouts[shown]))
    rows = group_frames(given, NOTHING, DuplicateParams(hamming=hamming)).added
    groups = pl.DataFrame(rows).join(pl.DataFrame(given), on=schemas.FRAME_KEY)
    assert groups.height == len(shown)
    assert groups.group_by("content_id").agg(pl.col("group_id").n_unique())["group_id"].max() == 1


def test_members_of_groups_have_known_distance_and_confidence() -> None:
    rows = group_frames(table([("a", 0, 1, 0), ("a", 1, 1, 0), ("a", 2, 2, 0), ("a", 3, 3, 0b1111)]), NOTHING, BY_HASH)
    found = rows.added.to_pylist()
    assert [r["hamming"] for r in found] == [0, 0, 0, 4]
    assert [r["confidence"] for r in found] == [1.0, 1.0, pytest.approx(0.99), pytest.approx(0.99 * (1 - 4 / 32))]
    assert [r["is_representative"] for r in found] == [True, False, False, False]
    assert len({r["group_id"] for r in found}) == 1


def test_scope_of_the_stream_keeps_streams_apart() -> None:
    frames = [("a", 0, 1, 0), ("b", 0, 1, 0), ("b", 1, 2, 1)]
    assert grouped(frames)[("b", 0)] == ("a", 0)
    own = grouped(frames, replace(BY_HASH, scope="stream"))
    assert own == {("a", 0): ("a", 0), ("b", 0): ("b", 0), ("b", 1): ("b", 0)}


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40), st.sampled_from(["stream", "workspace"]))
def test_order_of_the_rows_does_not_matter(random: object, n: int, scope: str) -> None:
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    words = rng.integers(0, 2**10, n)
    frames = [("ab"[i % 2], i, int(words[i]) + 1, int(words[i])) for i in range(n)]
    shuffled = [frames[i] for i in rng.permutation(n)]
    params = replace(BY_HASH, hamming=3, scope=scope)  # type: ignore[arg-type]
    assert grouped(frames, params) == grouped(shuffled, params)


def test_new_frames_join_old_groups_whose_ids_stay() -> None:
    first = group_frames(table([("b", 0, 1, 0), ("b", 1, 2, 2**40 - 1)]), NOTHING, BY_HASH)
    old = applied(NOTHING, first)
    # A frame that would have come first, had it been there from the start.
    second = group_frames(table([("a", 0, 3, 1), ("b", 0, 1, 0), ("b", 1, 2, 2**40 - 1)]), old, BY_HASH)
    assert second.removed.num_rows == 0
    assert [(r["stream_id"], r["representative_stream"]) for r in second.added.to_pylist()] == [("a", "b")]
    assert second.added["group_id"][0] == old["group_id"][0]


def test_grouping_without_new_frames_changes_no_group() -> None:
    frames = table([("a", i, i + 1, i * 7) for i in range(20)])
    old = applied(NOTHING, group_frames(frames, NOTHING, BY_HASH))
    again = group_frames(frames, old, BY_HASH)
    assert (again.added.num_rows, again.removed.num_rows) == (0, 0)


def test_a_stream_without_frames_has_no_group_rows() -> None:
    old = applied(NOTHING, group_frames(table([("a", 0, 1, 5), ("a", 1, 2, 5)]), NOTHING, BY_HASH))
    grouping = group_frames(table([]), old, BY_HASH)
    assert (grouping.removed.num_rows, applied(old, grouping).num_rows) == (2, 0)


def test_a_vanished_representative_regroups_its_members_only() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1), ("a", 2, 3, 3), ("a", 10, 4, 2**50 - 1), ("a", 11, 5, 2**50 - 2)]
    old = applied(NOTHING, group_frames(table(frames), NOTHING, BY_HASH))
    left = group_frames(table(frames[1:]), old, BY_HASH)
    assert sorted(r["frame_idx"] for r in left.removed.to_pylist()) == [0, 1, 2]
    assert grouped(frames[1:], old=old) == {
        ("a", 1): ("a", 1),
        ("a", 2): ("a", 1),
        ("a", 10): ("a", 10),
        ("a", 11): ("a", 10),
    }


def test_a_replaced_member_is_grouped_once_more() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1)]
    old = applied(NOTHING, group_frames(table(frames), NOTHING, BY_HASH))
    assert grouped([("a", 0, 1, 0), ("a", 1, 9, 2**60 - 1)], old=old) == {("a", 0): ("a", 0), ("a", 1): ("a", 1)}


def test_a_replaced_representative_frees_its_members() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1)]
    old = applied(NOTHING, group_frames(table(frames), NOTHING, BY_HASH))
    changed = [("a", 0, 9, 2**60 - 1), ("a", 1, 2, 1)]
    rows = group_frames(table(changed), old, BY_HASH)
    assert rows.removed.num_rows == 2
    assert grouped(changed, old=old) == {("a", 0): ("a", 0), ("a", 1): ("a", 1)}
    assert not set(rows.added["group_id"].to_pylist()) & set(old["group_id"].to_pylist())


def seen(frames: list[Frame], layouts: list[list[int]]) -> pa.Table:
    """Return frames with layouts, of which the two halves of the image are given."""
    cells = np.repeat(np.array(layouts, np.uint8), 32, axis=1).reshape(-1, 8, 8)
    cells[:, ::2, ::2] += 40
    return table(frames).append_column("layout", layout_column(cells.reshape(-1, 64)))


def test_equal_hashes_with_different_layouts_are_no_duplicates() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 0), ("a", 2, 3, 0), ("b", 0, 4, 1)]
    pictures = seen(frames, [[20, 100], [20, 100], [100, 20], [30, 110]])
    pictures = pictures.set_column(4, "layout", _with_something_in_it(pictures["layout"], 2))
    rows = group_frames(pictures.take([2, 0, 3, 1]), NOTHING, DuplicateParams()).added.to_pylist()
    found = {(r["stream_id"], r["frame_idx"]): (r["representative_idx"], r["agreement"]) for r in rows}
    assert found[("a", 1)] == (0, 1.0)
    assert found[("b", 0)] == (0, pytest.approx(1.0))
    assert found[("a", 2)] == (2, 1.0)
    by_hash = group_frames(pictures, NOTHING, BY_HASH).added
    assert by_hash["agreement"].null_count == 4
    assert set(by_hash["representative_idx"].to_pylist()) == {0}


def _with_something_in_it(layouts: pa.ChunkedArray, row: int) -> pa.ChunkedArray:
    cells = layout_array(layouts).reshape(-1, 8, 8).copy()
    cells[row, 2:6, 2:6] = np.arange(0, 240, 15).reshape(4, 4)
    return pa.chunked_array([layout_column(cells.reshape(-1, 64))])


@pytest.mark.parametrize(("hamming", "n_groups"), [(5, 1), (4, 2), (0, 2)])
def test_a_logo_in_a_corner_may_move_the_hash_further(hamming: int, n_groups: int) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (8, 8)).astype(np.uint8)
    logo = picture.copy()
    logo[:2, 6:] = 255
    # Twelve bits apart.
    frames = table([("a", 0, 1, 0), ("a", 1, 2, 0xFFF)])
    frames = frames.append_column("layout", layout_column(np.stack([picture, logo]).reshape(2, 64)))
    params = DuplicateParams(hamming=hamming)
    found = group_frames(frames, NOTHING, params).added
    assert len(found["group_id"].unique()) == n_groups
    later = group_frames(frames, group_frames(frames.slice(0, 1), NOTHING, params).added, params)
    assert later.added["group_id"].to_pylist() == found["group_id"].to_pylist()[1:]
    unverified = group_frames(frames, NOTHING, DuplicateParams(hamming=hamming, verify="none")).added
    assert len(unverified["group_id"].unique()) == 2


def test_old_groups_are_verified_too() -> None:
    first = seen([("a", 0, 1, 0)], [[20, 100]])
    old = applied(NOTHING, group_frames(first, NOTHING, DuplicateParams()))
    both = seen([("a", 0, 1, 0), ("a", 1, 2, 0)], [[20, 100], [20, 100]])
    both = both.set_column(4, "layout", _with_something_in_it(both["layout"], 1))
    added = group_frames(both, old, DuplicateParams()).added.to_pylist()
    assert [(r["frame_idx"], r["representative_idx"]) for r in added] == [(1, 1)]


def test_grouping_no_frames_gives_no_rows() -> None:
    assert grouped([]) == {}


def with_vectors(frames: list[Frame], angles: list[float]) -> pa.Table:
    """Give every frame a vector in the plane, at so many degrees."""
    turned = np.deg2rad(angles)
    vectors = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    return table(frames).append_column("vector", vector_column(vectors))


def test_groups_by_embedding_ask_for_no_hash() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 2**64 - 1), ("a", 2, 3, 0), ("b", 0, 1, 0)]
    params = DuplicateParams(by="embedding", cosine=0.95)
    rows = group_frames(with_vectors(frames, [0, 10, 60, 0]), NOTHING, params).added.to_pylist()
    assert [r["representative_idx"] for r in rows] == [0, 0, 2, 0]
    assert [r["cosine"] for r in rows] == pytest.approx([1, np.cos(np.deg2rad(10)), 1, 1], abs=1e-6)
    assert [r["confidence"] for r in rows] == pytest.approx([1, 0.99 * np.cos(np.deg2rad(10)), 1, 1], abs=1e-6)
    assert [r["agreement"] for r in rows] == [None] * 4


def test_candidates_by_hash_are_verified_by_their_vectors() -> None:
    frames = [("a", 0, 1, 0), ("a", 1, 2, 1), ("a", 2, 3, 2**40 - 1), ("a", 3, 4, 3)]
    params = DuplicateParams(verify="embedding", cosine=0.95)
    rows = group_frames(with_vectors(frames, [0, 40, 0, 5]), NOTHING, params).added.to_pylist()
    # The second shows something else, the third has another hash.
    assert [r["representative_idx"] for r in rows] == [0, 1, 2, 0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 359), min_size=1, max_size=40), st.integers(0, 39))
def test_groups_by_embedding_stand_when_frames_come_and_depend_on_no_order(angles: list[int], n_old: int) -> None:
    frames = [("a", i, i, 0) for i in range(len(angles))]
    params = DuplicateParams(by="embedding", cosine=0.9)
    every = with_vectors(frames, [float(a) for a in angles])
    old = applied(NOTHING, group_frames(every.slice(0, n_old), NOTHING, params))
    shuffled = every.take(pa.array(np.random.default_rng(len(angles)).permutation(len(angles))))
    grouping = group_frames(shuffled, old, params)
    assert grouping.removed.num_rows == 0
    assert grouping.added.num_rows == max(0, len(angles) - n_old)
    fresh = group_frames(every, NOTHING, params).added
    assert group_frames(shuffled, NOTHING, params).added.equals(fresh)
