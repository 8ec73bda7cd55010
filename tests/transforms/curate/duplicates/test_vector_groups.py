from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.curate.duplicates import vector_groups
from transforms.curate.duplicates.vector_groups import cosines, join_nearest

Vectors = npt.NDArray[np.float32]
NONE = np.empty(0, np.int64)


def clustered(seed: int, n: int, spread: float, width: int = 16, centres: int = 6) -> Vectors:
    """Return vectors of length 1 around a few directions."""
    rng = np.random.default_rng(seed)
    around = rng.normal(0, 1, (centres, width))[rng.integers(0, centres, n)]
    vectors = around + spread * rng.normal(0, 1, (n, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def reference(vectors: Vectors, predecessor: list[int], old: list[int], least: float) -> list[int]:
    """The same, as the docstring says it, by comparing everything with everything."""
    among = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    leader = list(old)
    leaders = [i for i in range(len(old)) if old[i] == i]
    for i in range(len(old), len(vectors)):
        before = predecessor[i]
        near = [j for j in leaders if among[i, j] >= least]
        if before >= 0 and leader[before] in near:
            leader.append(leader[before])
        elif near:
            leader.append(max(near, key=lambda j: among[i, j]))
        else:
            leader.append(i)
            leaders.append(i)
    return leader


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 90), st.sampled_from([0.05, 0.3, 1.0]), st.booleans(), st.integers(0, 30)
)
def test_vector_groups_equal_those_of_brute_force(seed: int, n: int, spread: float, in_a_row: bool, n_old: int) -> None:
    vectors = clustered(seed, n, spread)
    predecessor = np.arange(-1, n - 1) if in_a_row else np.full(n, -1)
    old = np.array(reference(vectors[:n_old], predecessor.tolist(), [], 0.8), np.int64)
    # Chunks of seven, so that what a chunk shares with those before it is tried out.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_groups, "_CHUNK", 7)
        found = join_nearest(vectors, predecessor, old, 0.8)
    assert found.tolist() == reference(vectors, predecessor.tolist(), old.tolist(), 0.8)


def test_every_member_is_near_to_its_leader_and_leaders_are_apart() -> None:
    vectors = clustered(1, 3000, 0.2, width=32, centres=200)
    leader = join_nearest(vectors, np.full(3000, -1), NONE, 0.9)
    assert cosines(vectors, np.arange(3000), leader).min() >= 0.9 - 1e-6
    leaders = np.unique(leader)
    among = vectors[leaders] @ vectors[leaders].T - 2 * np.eye(len(leaders))
    assert among.max() < 0.9 + 1e-6


def test_cells_of_vectors_miss_hardly_any_near_pair() -> None:
    vectors = clustered(2, 6000, 0.08, width=32, centres=900)
    exact = join_nearest(vectors, np.full(6000, -1), NONE, 0.8)
    celled = join_nearest(vectors, np.full(6000, -1), NONE, 0.8, flat=200)
    assert len(np.unique(celled)) <= 1.01 * len(np.unique(exact))
    assert cosines(vectors, np.arange(6000), celled).min() >= 0.8 - 1e-6
