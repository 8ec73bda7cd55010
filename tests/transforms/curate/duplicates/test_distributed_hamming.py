from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.curate.duplicates.distributed_hamming import PAIRS, TOO_MANY, join_pairs, pairs_at, route
from transforms.curate.duplicates.hamming import Verification, join_leaders

NONE = np.empty(0, np.int64)


def clustered(seed: int, n: int, flips: int, centres: int) -> npt.NDArray[np.uint64]:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, centres, dtype=np.uint64)[rng.integers(0, centres, n)]
    for _ in range(flips):
        words = words ^ (np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64))
    return words


def all_pairs(hashes: npt.NDArray[np.uint64], radius: int) -> pa.Table:
    """What all places give together."""
    words = np.unique(hashes)
    routed = route(pa.table({"at": np.arange(len(words)), "word": words.view(np.int64)}), radius)
    places = pc.unique(routed["place"]).to_pylist()
    return pa.concat_tables([pairs_at(routed.filter(pc.equal(routed["place"], p)), radius) for p in places])


@pytest.mark.parametrize("radius", [0, 3, 4, 7, 10, 16])
def test_every_pair_is_given_once(radius: int) -> None:
    words = np.unique(clustered(radius, 300, radius // 2 + 2, 12))
    apart = np.bitwise_count(words[:, None] ^ words[None, :])
    expected = {(i, j) for i, j in np.argwhere(apart <= radius).tolist() if i > j}
    found = all_pairs(words, radius)
    assert found.num_rows == len(expected)
    assert expected or not radius
    assert set(zip(found["first"].to_pylist(), found["second"].to_pylist(), strict=True)) == expected


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 90),
    st.integers(0, 12),
    st.integers(0, 89),
    st.sampled_from([3, 20, 10_000]),
    st.sampled_from([None, 0, 40]),
)
def test_groups_are_those_of_the_index(
    seed: int, n: int, radius: int, cut: int, patience: int, reach: int | None
) -> None:
    hashes = clustered(seed, n, 3, max(1, n // 12))
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 256, (4, 64))
    layouts = np.clip(kinds[rng.integers(0, 4, n)] + rng.integers(-20, 21, (n, 64)), 0, 255).astype(np.uint8)
    # A few have their corner filled, and are alike for the rest.
    filled = rng.random(n) < 0.3
    layouts[filled] = np.where(np.arange(64) % 8 + np.arange(64) // 8 < 2, 255, kinds[0])
    before = np.arange(-1, n - 1)
    cut = min(cut, n - 1)

    def seen(n_seen: int) -> Verification | None:
        return None if reach is None else Verification(layouts[:n_seen], 0.9, reach)

    old = join_leaders(hashes[:cut], before[:cut], NONE, radius, seen(cut), patience) if cut else NONE
    expected = join_leaders(hashes, before, old, radius, seen(n), patience)
    found = join_pairs(hashes, before, old, radius, all_pairs(hashes, radius), seen(n), patience)
    assert found.tolist() == expected.tolist()


def test_a_bucket_with_too_many_pairs_is_reported() -> None:
    words = np.arange(64, dtype=np.uint64)
    routed = route(pa.table({"at": np.arange(64), "word": words.view(np.int64)}), 10)
    # All agree in the second band, and in its first part.
    crowded = routed.filter(pc.equal(routed["place"], 3 << 6))
    assert pairs_at(crowded, 10, most=10)["first"].to_pylist() == [TOO_MANY]
    assert pairs_at(crowded, 10, most=64 * 63 // 2).num_rows == 64 * 63 // 2
    assert pairs_at(crowded, 10).schema == PAIRS
