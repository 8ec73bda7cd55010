"""Vectors projected onto a plane so that neighbours stay neighbours: UMAP."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

PACKAGES = ("umap",)
MOST_FITTED = 50_000
"""Of more vectors, so many at equal distances make the map, onto which the others are placed."""

_LEAST = 4
_CHUNK = 20_000


def umap_plane(
    vectors: FloatArray, neighbours: int = 15, min_distance: float = 0.1, seed: int = 0, most_fitted: int = MOST_FITTED
) -> FloatArray:
    """Return places of vectors of length 1, shape (N, D), on a plane, shape (N, 2), float32; by cosine distance.

    The same vectors, settings and versions of libraries give the same places. `neighbours` are those whose distances
    are kept: few of them show small groups, many the whole. `min_distance`, 0..1: how near points may be to each other.
    Fewer than four vectors are on a line, since they have no neighbourhoods.

    McInnes, Healy, Melville: UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction, 2018.
    """
    n = len(vectors)
    if n < _LEAST:
        return np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float32)
    import umap

    step = -(-n // most_fitted)
    fitted = np.arange(0, n, step)
    with warnings.catch_warnings():
        # It says that a seed leaves one thread, which is what equal results take.
        warnings.simplefilter("ignore")
        reducer = umap.UMAP(
            n_neighbors=min(neighbours, len(fitted) - 1),
            min_dist=min_distance,
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            # The spectral start fails for as few as this, and where all are alike.
            init="spectral" if len(fitted) > 10 * _LEAST else "random",
        )
        plane = np.empty((n, 2), np.float32)
        plane[fitted] = reducer.fit_transform(vectors[fitted])
        rest = np.setdiff1d(np.arange(n), fitted)
        for start in range(0, len(rest), _CHUNK):
            rows = rest[start : start + _CHUNK]
            plane[rows] = reducer.transform(vectors[rows])
    return plane
