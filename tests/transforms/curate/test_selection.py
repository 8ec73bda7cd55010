from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.curate.selection import Candidates, choose, layout_vectors
from transforms.curate.strategy import STRATEGIES, Strategy


def candidates(n: int, **given: Any) -> Candidates:
    """Return N frames of one stratum, each in its own group, with features on a circle."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    full: dict[str, npt.NDArray[Any]] = {
        "stratum": np.zeros(n, np.int64),
        "group": np.arange(n),
        "worth": np.ones(n, np.float32),
        "taken": np.zeros(n, np.bool_),
        "features": np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32),
    }
    return Candidates(**{name: np.asarray(given.get(name, value), value.dtype) for name, value in full.items()})


def chosen(frames: Candidates, n: int, strategy: Strategy, seed: int = 0) -> list[int]:
    return choose(frames, n, strategy, seed).at.tolist()


def test_uniform_takes_frames_at_equal_distances() -> None:
    assert chosen(candidates(10), 5, "uniform") == [1, 3, 5, 7, 9]
    assert chosen(candidates(10), 1, "uniform") == [5]


def test_stratified_takes_the_best_frame_of_equal_intervals() -> None:
    worth = [0.1, 0.9, 0.2, 0.3, 0.8, 0.8]
    assert chosen(candidates(6, worth=worth), 2, "stratified") == [1, 4]
    assert choose(candidates(6, worth=worth), 2, "stratified").value.tolist() == pytest.approx([0.9, 0.8])


def test_strata_have_equal_shares_unless_they_run_out_of_frames() -> None:
    stratum = [0] * 20 + [1] * 5 + [2]
    found = np.array(stratum)[chosen(candidates(26, stratum=stratum), 12, "stratified")]
    assert np.bincount(found).tolist() == [6, 5, 1]


def test_fewer_frames_than_strata_are_spread_over_all() -> None:
    stratum = np.repeat(np.arange(100), 3)
    found = stratum[chosen(candidates(300, stratum=stratum), 10, "stratified")]
    assert found.tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]


def test_frames_taken_before_count_in_the_shares() -> None:
    stratum, taken = [0] * 10 + [1] * 10, [True] * 4 + [False] * 16
    found = np.array(stratum)[chosen(candidates(20, stratum=stratum, taken=taken), 6, "uniform")]
    assert np.bincount(found).tolist() == [1, 5]


def test_diverse_takes_the_farthest() -> None:
    # On a circle of eight: one, the opposite one, then those a quarter away, and so on.
    found = choose(candidates(8), 4, "diverse")
    assert found.at.tolist() == [0, 4, 2, 6]
    assert found.value.tolist() == pytest.approx([2, 2, 1, 1], abs=1e-6)


def test_diverse_begins_far_from_frames_taken_before() -> None:
    taken = [True] + [False] * 7
    assert chosen(candidates(8, taken=taken), 1, "diverse") == [4]


def test_diverse_is_within_twice_the_best_radius() -> None:
    # Gonzalez: in a metric space, which the chord is.
    rng = np.random.default_rng(2)
    points = rng.normal(size=(14, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    chord = np.sqrt(np.maximum(2 - 2 * points @ points.T, 0))
    plain = candidates(14)
    frames = Candidates(plain.stratum, plain.group, plain.worth, plain.taken, points)
    at = chosen(frames, 3, "diverse")
    best = min(chord[:, list(some)].min(axis=1).max() for some in combinations(range(14), 3))
    assert chord[:, at].min(axis=1).max() <= 2 * best + 1e-6


def test_coverage_takes_the_middle_of_each_cluster() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4)
    points = np.repeat(centres, 25, axis=0) + rng.normal(0, 0.15, (100, 4))
    points[::25] = centres
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    plain = candidates(100)
    frames = Candidates(plain.stratum, plain.group, plain.worth, plain.taken, points)
    found = choose(frames, 4, "coverage")
    assert sorted(at // 25 for at in found.at.tolist()) == [0, 1, 2, 3]
    assert found.value[0] > found.value[3] > 0
    # A covered cluster is not covered twice.
    covered = Candidates(plain.stratum, plain.group, plain.worth, np.arange(100) < 25, points)
    assert {at // 25 for at in chosen(covered, 3, "coverage")} == {1, 2, 3}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.integers(0, 70),
    st.sampled_from(STRATEGIES),
    st.integers(1, 4),
)
def test_at_most_one_of_a_group_and_at_most_n(
    seed: int, n: int, wanted: int, strategy: Strategy, n_strata: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    frames = Candidates(
        rng.integers(0, n_strata, n),
        rng.integers(0, max(1, n // 2), n),
        rng.random(n, np.float32),
        rng.random(n) < 0.2,
        features.astype(np.float32),
    )
    at = choose(frames, wanted, strategy, seed).at
    free = np.setdiff1d(frames.group, frames.group[frames.taken])
    assert len(at) == min(wanted, len(free))
    assert len(np.unique(frames.group[at])) == len(at)
    assert not frames.taken[at].any()
    assert np.isin(frames.group[at], free).all()
    assert chosen(frames, wanted, strategy, seed) == at.tolist()


def test_similarity_of_layout_vectors_is_the_correlation_of_images() -> None:
    layouts: npt.NDArray[np.uint8] = np.random.default_rng(1).integers(30, 200, (2, 64)).astype(np.uint8)
    brighter = np.clip(layouts[0] + 40, 0, 255).astype(np.uint8)
    found = layout_vectors(
        np.stack([layouts[0], brighter, layouts[1], np.full(64, 9), np.full(64, 200)]).astype(np.uint8)
    )
    cosine = found @ found.T
    assert cosine[0, 1] == pytest.approx(1, abs=1e-5)
    assert abs(cosine[0, 2]) < 0.5
    assert cosine[3, 4] == pytest.approx(1, abs=1e-5)
