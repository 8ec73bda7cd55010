"""UMAP of vectors: groups stay groups, and the same vectors give the same places."""

from __future__ import annotations

import numpy as np
import pytest

from tests.marks import UMAP
from transforms.curate.projection import FloatArray, umap_plane

pytestmark = [pytest.mark.slow(30), pytest.mark.xdist_group(UMAP)]


def groups(n: int, size: int, seed: int = 3) -> tuple[FloatArray, FloatArray]:
    """Return unit vectors around `n` directions, and the number of the group of each."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(n, 24))
    of = np.repeat(np.arange(n), size)
    vectors = centres[of] + 0.1 * chance.normal(size=(n * size, 24))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of.astype(np.float32)


def share_of_own(plane: FloatArray, of: FloatArray) -> float:
    """Return the share of points whose nearest other point is of their group."""
    away = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(away, np.inf)
    return float((of[away.argmin(axis=1)] == of).mean())


def test_groups_of_vectors_are_groups_on_the_plane() -> None:
    vectors, of = groups(5, 40)
    plane = umap_plane(vectors, neighbours=10)
    assert plane.shape == (200, 2)
    assert np.isfinite(plane).all()
    assert share_of_own(plane, of) == 1
    assert np.array_equal(plane, umap_plane(vectors, neighbours=10))
    assert not np.array_equal(plane, umap_plane(vectors, neighbours=10, seed=1))


def test_vectors_that_were_not_fitted_are_placed_among_their_group() -> None:
    vectors, of = groups(4, 60)
    order = np.random.default_rng(0).permutation(len(vectors))
    plane = umap_plane(vectors[order], neighbours=10, most_fitted=120)
    assert share_of_own(plane, of[order]) > 0.97


@pytest.mark.parametrize("n", [0, 1, 3, 4, 9])
def test_few_vectors_have_places(n: int) -> None:
    vectors, _ = groups(3, 3)
    plane = umap_plane(vectors[:n])
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()
    assert len(np.unique(plane, axis=0)) == n
