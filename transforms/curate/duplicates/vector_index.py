"""Nearest-neighbour index of embedding vectors: faiss, on a GPU where it sees one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.core.identity import Int64Array
from transforms.models.embeddings import Vectors

NOT_FOUND = -1
_CELLS = 1024
_PROBED = 32
_CANDIDATES = 8
"""Neighbours that a GPU returns of each vector, among which the nearest is chosen by sums in a fixed order."""
_SCRATCH = 256 << 20
"""Bytes of GPU memory that a search may use besides the vectors; faiss itself would reserve 1.5 GB."""


@dataclass(frozen=True)
class Gpu:
    """What moves an index to a GPU, and back."""

    to: Callable[[Any], Any]
    back: Callable[[Any], Any]


def gpu_of(faiss: Any) -> Gpu | None:
    """Return the first GPU that faiss sees; None for the package `faiss-cpu`, and where there is no GPU."""
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return None
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(_SCRATCH)
    return Gpu(lambda index: faiss.index_cpu_to_gpu(resources, 0, index), faiss.index_gpu_to_cpu)


class NearestIndex:
    """Index of some of `vectors`, (N, D) float32 of length 1, that grows: exhaustive up to `flat` of them.

    Beyond that it is approximate, by an inverted file that is trained, on the CPU and with a fixed seed, on those that
    are in it at that time. A GPU finds the same neighbours, except where two are equally near to within the rounding of
    single precision. What does not fit into its memory is searched on the CPU.
    """

    def __init__(self, vectors: Vectors, flat: int) -> None:
        import faiss

        self._faiss = faiss
        self._gpu = gpu_of(faiss)
        self._vectors = vectors
        self._flat = flat
        self._is_flat = True
        self._places: list[Int64Array] = []
        self._index: Any = self._placed(faiss.IndexFlatIP(vectors.shape[1]))

    def add(self, positions: Int64Array) -> None:
        """Add the vectors at these positions, which are above all before them."""
        if not len(positions):
            return
        given = np.ascontiguousarray(self._vectors[positions])
        try:
            self._index.add(given)
        except RuntimeError:
            if self._gpu is None:
                raise
            self._leave_gpu(given)
        self._places.append(positions)
        if self._is_flat and self._index.ntotal > self._flat:
            self._index = self._placed(self._inverted(np.concatenate(self._places)))
            self._is_flat = False

    def nearest(self, chunk: Vectors) -> tuple[Int64Array, npt.NDArray[np.float32]]:
        """Return position and cosine of the nearest to each of M vectors; `NOT_FOUND` and -2 where there is none."""
        if not self._index.ntotal:
            return np.full(len(chunk), NOT_FOUND), np.full(len(chunk), -2, np.float32)
        wanted = 1 if self._gpu is None else min(_CANDIDATES, self._index.ntotal)
        cosine, place = self._index.search(np.ascontiguousarray(chunk), wanted)
        places = np.concatenate(self._places)
        if self._gpu is not None:
            place, cosine = self._best(chunk, place, places)
        return np.where(place[:, 0] < 0, NOT_FOUND, places[place[:, 0]]), cosine[:, 0]

    def _best(
        self, chunk: Vectors, place: Int64Array, places: Int64Array
    ) -> tuple[Int64Array, npt.NDArray[np.float32]]:
        """Return the nearest of the candidates at `place`, (M, K), the earliest of several, and its cosine, (M, 1)."""
        place = np.sort(place, axis=1)
        cosine = np.einsum("ij,ikj->ik", chunk, self._vectors[places[place]])
        cosine = np.where(place < 0, np.float32(-2), cosine)
        best = cosine.argmax(axis=1)[:, None]
        return np.take_along_axis(place, best, 1), np.take_along_axis(cosine, best, 1)

    def _placed(self, index: Any) -> Any:
        """Return an index on the GPU, if there is one and it has the room."""
        if self._gpu is not None:
            try:
                return self._gpu.to(index)
            except RuntimeError:
                self._gpu = None
        return index

    def _leave_gpu(self, given: Vectors) -> None:
        """Continue on the CPU with these vectors, for which the GPU has no room."""
        assert self._gpu is not None
        n = sum(map(len, self._places))
        self._index, self._gpu = self._gpu.back(self._index), None
        self._index.add(given[self._index.ntotal - n :])

    def _inverted(self, places: Int64Array) -> Any:
        width = self._vectors.shape[1]
        self._coarse = self._faiss.IndexFlatIP(width)
        cells = min(_CELLS, max(1, len(places) // 40))
        index = self._faiss.IndexIVFFlat(self._coarse, width, cells, self._faiss.METRIC_INNER_PRODUCT)
        given = np.ascontiguousarray(self._vectors[places])
        index.train(given)
        index.add(given)
        index.nprobe = _PROBED
        return index
