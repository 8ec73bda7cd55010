from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.core.identity import (
    UNTRUSTED,
    content_id,
    hash_strings,
    is_racy,
    mix,
    pair_ids,
    row_terms,
    stat_ids,
)

INT64 = st.integers(-(2**63), 2**63 - 1)


def test_mix_is_splitmix64() -> None:
    # First outputs of the reference generator seeded with 0, whose state grows by the golden gamma.
    states = np.array([0, 0x9E3779B97F4A7C15], np.uint64)
    assert mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_content_id_is_the_first_64_bits_of_the_digest() -> None:
    assert content_id(bytes([1] + [0] * 31)) == 1
    assert content_id(b"\xff" * 32) == -1


def test_pair_ids_depend_on_both_frames_and_on_has_previous() -> None:
    one, two = np.array([5, 5, 6, 5], np.int64), np.array([7, 8, 7, 0], np.int64)
    ids = pair_ids(one, two, np.array([True, True, True, False]))
    assert len(set(ids.tolist())) == 4
    swapped = pair_ids(np.array([7]), np.array([5]), np.array([True]))
    assert swapped[0] != ids[0]


def test_a_missing_predecessor_is_ignored() -> None:
    absent = np.array([False])
    assert pair_ids(np.array([5]), np.array([1]), absent) == pair_ids(np.array([5]), np.array([2]), absent)


@given(st.lists(st.text(max_size=8), max_size=20), st.integers(0, 19))
def test_hash_of_a_string_depends_on_nothing_else(texts: list[str], cut: int) -> None:
    whole = hash_strings(pa.array(texts, pa.string()))
    alone = [hash_strings(pa.array([text], pa.string()))[0] for text in texts]
    sliced = hash_strings(pa.array(texts, pa.string())[cut:])
    assert whole.tolist() == alone
    assert sliced.tolist() == alone[cut:]


@given(st.sets(st.text(max_size=12), min_size=2, max_size=40))
def test_different_strings_have_different_hashes(texts: set[str]) -> None:
    assert len(set(hash_strings(pa.array(sorted(texts), pa.string())).tolist())) == len(texts)


def test_seeds_give_unrelated_hashes() -> None:
    names = pa.array([f"n{i}" for i in range(100)])
    assert not set(hash_strings(names, 0).tolist()) & set(hash_strings(names, 1).tolist())


def test_stat_ids_change_with_name_size_and_time_and_are_never_untrusted() -> None:
    names = pa.array(["/a/image_1.jpg", "/b/image_1.jpg", "/a/image_1.jpg", "/a/image_1.jpg"])
    ids = stat_ids(names, np.array([10, 10, 11, 10]), np.array([99, 99, 99, 98]))
    assert len(set(ids.tolist())) == 4
    assert UNTRUSTED not in ids.tolist()


@pytest.mark.parametrize(
    ("mtime_ns", "read_after_ns", "racy"),
    [
        (1_000_000_123, 0, True),
        (1_000_000_123, 10_000_000, True),
        (1_000_000_123, 30_000_000, False),
        # Whole seconds: the file system may have no finer ones.
        (5_000_000_000, 1_500_000_000, True),
        (5_000_000_000, 2_500_000_000, False),
    ],
)
def test_files_read_right_after_their_modification_are_racy(mtime_ns: int, read_after_ns: int, racy: bool) -> None:
    assert is_racy(mtime_ns, mtime_ns + read_after_ns) is racy


@given(st.lists(st.tuples(st.integers(0, 2**62), INT64), min_size=1, max_size=30), st.randoms())
def test_row_terms_sum_up_the_same_in_any_order(rows: list[tuple[int, int]], random: object) -> None:
    shuffled = sorted(rows, key=lambda r: hash((str(random), r)))
    sums = []
    for ordered in (rows, shuffled):
        index, ids = (np.array(column, np.int64) for column in zip(*ordered, strict=True))
        sums.append(int(row_terms(index, ids).sum(dtype=np.uint64)))
    assert sums[0] == sums[1]


def test_sums_of_row_terms_change_when_contents_are_swapped() -> None:
    index = np.array([1, 2])
    before = row_terms(index, np.array([10, 20])).sum(dtype=np.uint64)
    after = row_terms(index, np.array([20, 10])).sum(dtype=np.uint64)
    assert before != after


def test_an_mtime_in_the_future_is_judged_by_the_ctime() -> None:
    read_ns = 1_700_000_000_123_456_789
    future = read_ns + 10**18
    assert is_racy(future, read_ns)
    assert is_racy(future, read_ns, read_ns - 1_000_000)
    assert is_racy(future, read_ns, read_ns + 5 * 10**9)
    assert not is_racy(future, read_ns, read_ns - 10**9)
    # An mtime in the past is used itself.
    assert is_racy(read_ns - 1_000_000, read_ns, read_ns - 10**12)
