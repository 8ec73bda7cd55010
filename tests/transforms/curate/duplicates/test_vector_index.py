"""The index of vectors, its way through a GPU included: what moves an index there is replaced, faiss is not.

On a machine with a GPU and faiss for it, the last test compares both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.transforms.curate.duplicates.test_vector_groups import NONE, clustered
from transforms.curate.duplicates import vector_index
from transforms.curate.duplicates.vector_groups import join_nearest
from transforms.curate.duplicates.vector_index import Gpu, NearestIndex, gpu_of

faiss = pytest.importorskip("faiss", reason="neither the extra `embeddings` nor `gpu` is installed")


class Small:
    """An index on a device that has room for so many vectors."""

    def __init__(self, index: Any, room: int) -> None:
        if index.ntotal > room:
            raise RuntimeError("out of memory")
        self.index, self.room = index, room

    @property
    def ntotal(self) -> int:
        return int(self.index.ntotal)

    def search(self, chunk: Any, wanted: int) -> Any:
        return self.index.search(chunk, wanted)

    def add(self, given: Any) -> None:
        # As on a GPU, some may be in by the time that one is too many.
        self.index.add(given[: max(0, self.room - self.ntotal)])
        if len(given) > self.room - self.ntotal and self.ntotal >= self.room:
            raise RuntimeError("out of memory")


def use_gpu(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """Have indexes moved to a device with this room; return what collects how many vectors came back from it."""
    back: list[int] = []

    def returned(small: Small) -> Any:
        back.append(small.ntotal)
        return small.index

    monkeypatch.setattr(vector_index, "gpu_of", lambda _: Gpu(lambda index: Small(index, room), returned))
    return back


@pytest.mark.parametrize("flat", [50, 1 << 16])
@pytest.mark.parametrize("room", [1 << 20, 300, 0])
def test_groups_on_a_gpu_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch, flat: int, room: int) -> None:
    vectors = clustered(3, 6000, 0.25, width=32, centres=900)
    nobody = np.full(len(vectors), -1)
    expected = join_nearest(vectors, nobody, NONE, 0.9, flat)
    back = use_gpu(monkeypatch, room)
    assert join_nearest(vectors, nobody, NONE, 0.9, flat).tolist() == expected.tolist()
    assert len(np.unique(expected)) > 600
    assert bool(back) == (room < 600)


def test_of_equally_near_vectors_the_earliest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(1, 40, 0.3)
    vectors[20:] = vectors[:20]
    use_gpu(monkeypatch, 1 << 20)
    index = NearestIndex(vectors, 1 << 16)
    index.add(np.arange(0, 20))
    index.add(np.arange(20, 40))
    place, cosine = index.nearest(vectors[20:])
    assert place.tolist() == list(range(20))
    np.testing.assert_allclose(cosine, 1, atol=1e-6)


def test_an_empty_index_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    use_gpu(monkeypatch, 1 << 20)
    place, cosine = NearestIndex(clustered(1, 3, 0.3), 10).nearest(clustered(2, 2, 0.3))
    assert (place.tolist(), cosine.tolist()) == ([-1, -1], [-2, -2])


def test_faiss_without_a_gpu_stays_on_the_cpu() -> None:
    assert (gpu_of(faiss) is not None) == (faiss.get_num_gpus() > 0)


@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="faiss sees no GPU")
@pytest.mark.parametrize("flat", [50, 1 << 16])
def test_neighbours_on_this_gpu_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch, flat: int) -> None:
    vectors = clustered(3, 20_000, 0.25, width=64, centres=3000)
    nobody = np.full(len(vectors), -1)
    found = join_nearest(vectors, nobody, NONE, 0.9, flat)
    monkeypatch.setattr(vector_index, "gpu_of", lambda _: None)
    assert join_nearest(vectors, nobody, NONE, 0.9, flat).tolist() == found.tolist()
