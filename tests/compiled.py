"""Compiles what numba compiles, once and not in each process of the tests: `python -m tests.compiled`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.curate.duplicates.distributed_hamming import join_pairs, pairs_at, route
from transforms.curate.duplicates.hamming import Verification, agreements, join_leaders
from transforms.curate.duplicates.vector_groups import join_nearest


def main() -> None:
    """Group a few frames in every way. What is compiled for that is kept next to the modules."""
    nobody = np.empty(0, np.int64)
    hashes = np.arange(2, dtype=np.uint64)
    before = np.arange(-1, 1)
    layouts = np.zeros((2, 64), np.uint8)
    verification = Verification(layouts, 0.9)
    agreements(layouts, nobody, nobody)
    join_leaders(hashes, before, nobody, 10, verification)
    pairs = pairs_at(route(pa.table({"at": np.arange(2), "word": hashes.view(np.int64)}), 0), 0)
    join_pairs(hashes, before, nobody, 0, pairs, verification)
    join_nearest(np.eye(2, dtype=np.float32), before, nobody, 0.9)


if __name__ == "__main__":
    main()
