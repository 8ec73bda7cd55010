"""Blocks of hashes that threads search for ahead, compared with a search one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.curate.duplicates import leader_search
from transforms.curate.duplicates.hamming import PATIENCE, Verification, join_leaders
from transforms.curate.duplicates.leader_search import searches

Words = npt.NDArray[np.uint64]


def material(seed: int, n: int, centres: int) -> tuple[Words, npt.NDArray[np.uint8]]:
    """Return hashes around a few centres, and layouts, of which many agree and some are alike but for a corner."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, centres, dtype=np.uint64)[rng.integers(0, centres, n)]
    for _ in range(8):
        words ^= np.where(rng.random(n) < 0.6, np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64), np.uint64(0))
    kinds = rng.integers(0, 256, (5, 64), dtype=np.uint8)
    looks = kinds[rng.integers(0, 5, n)]
    marked = rng.random(n) < 0.3
    looks[np.ix_(marked, np.array([0, 1, 8, 9]))] = rng.integers(0, 256, (int(marked.sum()), 4), dtype=np.uint8)
    return words, looks


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(60, 400),
    st.integers(1, 12),
    st.sampled_from([0, 3, 6, 10, 13]),
    st.sampled_from([1, 5, 40, PATIENCE]),
    st.sampled_from(["layout", "corner", "vector", "none"]),
    st.booleans(),
    st.integers(0, 50),
)
def test_blocks_have_the_result_of_a_search_one_by_one(
    seed: int, n: int, centres: int, radius: int, patience: int, how: str, in_a_row: bool, n_old: int
) -> None:
    words, looks = material(seed, n, centres)
    verify = None
    if how == "vector":
        rng = np.random.default_rng(seed)
        vectors = rng.normal(0, 1, (4, 8))[rng.integers(0, 4, n)] + rng.normal(0, 0.2, (n, 8))
        verify = Verification((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), 0.9)
    elif how != "none":
        verify = Verification(looks, 0.95, 25 if how == "corner" else 0)
    before = np.arange(-1, n - 1) if in_a_row else np.full(n, -1)
    none = np.empty(0, np.int64)

    def joined(old: npt.NDArray[np.int64], last: int) -> list[int]:
        part = None if verify is None else Verification(verify.looks[:last], verify.least, verify.reach)
        return join_leaders(words[:last], before[:last], old, radius, part, patience).tolist()

    old = np.array(joined(none, n_old), np.int64) if n_old else none
    expected = joined(old, n)
    with pytest.MonkeyPatch.context() as patch:
        # Few leaders and small blocks, so that most of them are searched for ahead, and in several tasks.
        patch.setattr(leader_search, "BLOCK", 16)
        patch.setattr(leader_search, "_PER_TASK", 5)
        assert joined(old, n) == expected


@pytest.mark.parametrize("radius", range(17))
def test_every_hash_within_the_radius_is_in_a_bucket_that_is_searched(radius: int) -> None:
    rng = np.random.default_rng(radius)
    for _ in range(300):
        bits = rng.choice(64, rng.integers(0, radius + 1), replace=False)
        flips = [int((bits // 16 == band).sum()) for band in range(4)]
        assert any(n <= radius // 4 and searches(n, band, radius) for band, n in enumerate(flips))
