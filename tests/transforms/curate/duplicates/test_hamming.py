from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.curate.duplicates.corner_overlay import ALIKE, SLACK, cross_words
from transforms.curate.duplicates.hamming import Verification, agreements, join_leaders
from transforms.curate.duplicates.hamming_buckets import flip_masks

Words = npt.NDArray[np.uint64]
Layouts = npt.NDArray[np.uint8]
NONE = np.empty(0, np.int64)


def correlation(a: Layouts, b: Layouts) -> float:
    """The second lowest correlation of the four quarters, each of whose cells has 3 luma more of contrast."""
    found = []
    for rows in (slice(0, 4), slice(4, 8)):
        for columns in (slice(0, 4), slice(4, 8)):
            u, v = (x.reshape(8, 8)[rows, columns].astype(float) for x in (a, b))
            u, v = u - u.mean(), v - v.mean()
            found.append(((u * v).sum() + 144) / np.sqrt(((u * u).sum() + 144) * ((v * v).sum() + 144)))
    return sorted(found)[1]


def alike(a: Layouts, b: Layouts, least: float) -> bool:
    """The same of the other quarters, and of one's own cells without its corner of 2 by 2."""
    whole = np.ones((8, 8), np.bool_)
    parts = []
    for y in (slice(0, 4), slice(4, 8)):
        for x in (slice(0, 4), slice(4, 8)):
            inside, corner = ~whole, ~whole
            inside[y, x] = True
            corner[slice(0, 2) if y.start == 0 else slice(6, 8), slice(0, 2) if x.start == 0 else slice(6, 8)] = True
            parts.append((inside.ravel(), (inside & ~corner).ravel()))

    def holds(cells: npt.NDArray[np.bool_]) -> bool:
        u, v = a[cells].astype(float), b[cells].astype(float)
        u, v, flat = u - u.mean(), v - v.mean(), 9.0 * len(u)
        return bool(((u * v).sum() + flat) / np.sqrt(((u * u).sum() + flat) * ((v * v).sum() + flat)) >= least)

    unlike = [without for within, without in parts if not holds(within)]
    return not unlike or (len(unlike) == 1 and holds(unlike[0]))


def reference(
    hashes: Words, predecessor: list[int], old: list[int], radius: int, verify: Verification | None = None
) -> list[int]:
    """The same, as the docstring says it, by comparing everything with everything."""

    def agree(i: int, j: int) -> bool:
        return verify is None or correlation(verify.looks[i], verify.looks[j]) >= verify.least

    def like(i: int, j: int) -> bool:
        looks = verify.looks.astype(np.uint8) if verify else np.empty((0, 64), np.uint8)
        bits = np.bitwise_count(np.bitwise_xor.reduce(cross_words(looks[[i, j]])))
        return bits <= SLACK and alike(looks[i], looks[j], max(ALIKE, verify.least if verify else 0))

    leader = list(old)
    leaders = [i for i in range(len(old)) if old[i] == i]
    for i in range(len(old), len(hashes)):
        equal = [j for j in range(i) if hashes[j] == hashes[i]]
        before = predecessor[i]
        distance = {j: int(np.bitwise_count(hashes[j] ^ hashes[i])) for j in leaders}
        near = [j for j in leaders if distance[j] <= radius and agree(i, j)]
        if equal and agree(i, leader[equal[0]]):
            leader.append(leader[equal[0]])
        elif before >= 0 and leader[before] in near:
            leader.append(leader[before])
        elif near:
            leader.append(min(near, key=lambda j: (distance[j], j)))
        elif marked := [j for j in leaders if verify and distance[j] <= verify.reach and like(i, j)]:
            leader.append(min(marked, key=lambda j: (distance[j], j)))
        else:
            leader.append(i)
            leaders.append(i)
    return leader


def clustered(seed: int, n: int, flips: int) -> Words:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, max(1, n // 8), dtype=np.uint64)
    words = centres[rng.integers(0, len(centres), n)]
    for _ in range(flips):
        words = words ^ (np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64))
    return words


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 120), st.integers(0, 8), st.integers(0, 12), st.booleans())
def test_leaders_equal_those_of_brute_force(seed: int, n: int, flips: int, radius: int, in_a_row: bool) -> None:
    hashes = clustered(seed, n, flips)
    predecessor = np.arange(-1, n - 1) if in_a_row else np.full(n, -1)
    found = join_leaders(hashes, predecessor, NONE, radius)
    assert found.tolist() == reference(hashes, predecessor.tolist(), [], radius)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(0, 12), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_verified_groups_equal_those_of_brute_force(seed: int, n: int, radius: int, least: float) -> None:
    hashes = clustered(seed, n, 3)
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 256, (3, 64))
    layouts = np.clip(kinds[rng.integers(0, 3, n)] + rng.integers(-20, 21, (n, 64)), 0, 255).astype(np.uint8)
    verify = Verification(layouts, least)
    predecessor = np.arange(-1, n - 1)
    found = join_leaders(hashes, predecessor, NONE, radius, verify)
    assert found.tolist() == reference(hashes, predecessor.tolist(), [], radius, verify)
    cut = n // 2
    old = join_leaders(hashes[:cut], predecessor[:cut], NONE, radius, Verification(layouts[:cut], least))
    found = join_leaders(hashes, predecessor, old, radius, verify)
    assert found.tolist() == reference(hashes, predecessor.tolist(), old.tolist(), radius, verify)


def marked(seed: int, n: int) -> Layouts:
    """Layouts of three images, some of them with something in a corner, or in a whole quarter, or noisy."""
    rng = np.random.default_rng(seed)
    looks = rng.integers(0, 256, (3, 8, 8))[rng.integers(0, 3, n)]
    for k, side in enumerate(rng.integers(0, 4, n).tolist()):
        y, x = (rng.integers(0, 2, 2) * (8 - side)).tolist()
        looks[k, y : y + side, x : x + side] = rng.integers(0, 256)
    return np.clip(looks + rng.integers(-4, 5, (n, 1, 1)), 0, 255).astype(np.uint8).reshape(n, 64)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(0, 4), st.sampled_from([20, 30, 64]))
def test_images_with_corner_overlays_are_found_as_by_brute_force(seed: int, n: int, radius: int, reach: int) -> None:
    hashes, looks = clustered(seed, n, 12), marked(seed, n)
    before, cut = np.arange(-1, n - 1), n // 2
    found = join_leaders(hashes, before, NONE, radius, Verification(looks, 0.95, reach))
    assert found.tolist() == reference(hashes, before.tolist(), [], radius, Verification(looks, 0.95, reach))
    old = join_leaders(hashes[:cut], before[:cut], NONE, radius, Verification(looks[:cut], 0.95, reach))
    found = join_leaders(hashes, before, old, radius, Verification(looks, 0.95, reach))
    assert found.tolist() == reference(hashes, before.tolist(), old.tolist(), radius, Verification(looks, 0.95, reach))


def test_a_logo_is_passed_over_and_something_larger_is_not() -> None:
    looks = np.tile(np.random.default_rng(5).integers(0, 256, 64).astype(np.uint8), (4, 1))
    looks[1].reshape(8, 8)[6:, 6:] = 255
    looks[2].reshape(8, 8)[5:, 5:] = 255
    looks[3].reshape(8, 8)[3:5, 3:5] = 255
    # Eight bits from the first, sixteen from one another.
    words = np.array([0, 0xFF, 0xFF00, 0xFF0000], np.uint64)
    alone = np.full(4, -1)
    assert join_leaders(words, alone, NONE, 6, Verification(looks, 0.95, 18)).tolist() == [0, 0, 2, 3]
    assert join_leaders(words, alone, NONE, 6, Verification(looks, 0.95, 7)).tolist() == [0, 1, 2, 3]
    assert join_leaders(words, alone, NONE, 6, Verification(looks, 0.95)).tolist() == [0, 1, 2, 3]


def test_a_restless_camera_costs_a_bounded_number_of_comparisons() -> None:
    # Words within 2 bits of one another, all in one bucket of three bands; the last layout is that of the first.
    words = np.array([1 << bit for bit in range(12)], np.uint64)
    rng = np.random.default_rng(3)
    layouts = rng.integers(0, 256, (12, 64)).astype(np.uint8)
    layouts[11] = layouts[0]
    alone = np.full(12, -1)
    verify = Verification(layouts, 0.95)
    # Eleven leaders are met in the second band, from the youngest back; the very first is the last of them.
    assert join_leaders(words, alone, NONE, 10, verify, patience=11).tolist() == [*range(11), 0]
    assert join_leaders(words, alone, NONE, 10, verify, patience=10).tolist() == list(range(12))


def test_agreement_matches_values_computed_by_hand() -> None:
    ramp = np.tile(np.arange(0, 160, 20, dtype=np.uint8), (8, 1))
    same, flat = ramp.copy(), np.full((8, 8), 90, np.uint8)
    one_corner, two_corners = ramp.copy(), ramp.copy()
    one_corner[:4, :4] = ramp[:4, 3::-1]
    two_corners[:, :4] = ramp[:, 3::-1]
    brighter = (ramp // 2 + 60).astype(np.uint8)
    layouts = np.stack([ramp, same, one_corner, two_corners, brighter, flat, flat + 50]).reshape(-1, 64)
    at = np.array([0, 0, 0, 0, 0, 5])
    found = agreements(layouts, at, np.array([1, 2, 3, 4, 5, 6]))
    # A quarter of the ramp holds 4 rows of -30, -10, 10, 30: a power of 8000; half of it, 2000.
    assert found.tolist() == pytest.approx(
        [1, 1, -(8000 - 144) / 8144, 4144 / (8144 * 2144) ** 0.5, 144 / (8144 * 144) ** 0.5, 1], abs=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 80), st.integers(1, 79))
def test_representatives_of_old_groups_stay(seed: int, n: int, cut: int) -> None:
    hashes = clustered(seed, n, 4)
    cut = min(cut, n - 1)
    predecessor = np.arange(-1, n - 1)
    old = join_leaders(hashes[:cut], predecessor[:cut], NONE, 6)
    found = join_leaders(hashes, predecessor, old, 6)
    assert found[:cut].tolist() == old.tolist()
    assert found.tolist() == reference(hashes, predecessor.tolist(), old.tolist(), 6)


@pytest.mark.parametrize("radius", [0, 3, 6, 7, 8, 11])
def test_every_member_is_within_the_radius_and_leaders_are_apart(radius: int) -> None:
    hashes = clustered(1, 4000, 5)
    leader = join_leaders(hashes, np.full(len(hashes), -1), NONE, radius)
    assert np.bitwise_count(hashes ^ hashes[leader]).max() <= radius
    leaders = hashes[np.unique(leader)]
    apart = np.bitwise_count(leaders[:, None] ^ leaders[None, :])
    assert apart[~np.eye(len(leaders), dtype=bool)].min() > radius


def test_groups_have_no_chains_of_near_frames() -> None:
    # Each word differs from the next by 4 bits: a chain at radius 6, but the ends are 16 bits apart.
    words = np.array([(1 << (4 * i)) - 1 for i in range(5)], np.uint64)
    leader = join_leaders(words, np.arange(-1, 4), NONE, 6)
    assert leader.tolist() == [0, 0, 2, 2, 4]


def test_flip_masks_enumerate_all_combinations_of_bits() -> None:
    masks, ends = flip_masks(9)
    assert ends.tolist() == [1, 17, 137]
    assert set(masks[17:].tolist()) == {1 << a | 1 << b for a, b in combinations(range(16), 2)}
