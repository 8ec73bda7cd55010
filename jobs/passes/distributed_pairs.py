"""Search for pairs of near hashes on all machines of a cluster, for many frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.engine.ray_engine import Engine
from transforms.curate.duplicates.grouping import DuplicateParams, NearPairs

_ROWS = 1 << 18
_MOST_PAIRS = 1 << 28


def sharing(params: DuplicateParams, engine: Callable[[], Engine], check: Callable[[], None]) -> NearPairs | None:
    """Return what looks for near hashes on a cluster; None if parameters leave that to the index of the driver.

    `check` is called while the machines are at work, and may end that. Where hashes are so crowded that pairs would
    fill the memory, the index is used after all.
    """
    if params.join == "local":
        return None

    def near(words: npt.NDArray[np.uint64], radius: int) -> pa.Table | None:
        # One machine is faster by itself.
        if params.join == "auto" and (len(words) <= params.shuffle_above or len(engine().machines()) < 2):
            return None
        return _near(engine(), words, radius, check)

    return near


def _near(engine: Engine, words: npt.NDArray[np.uint64], radius: int, check: Callable[[], None]) -> pa.Table | None:
    from transforms.curate.duplicates.distributed_hamming import PAIRS, TOO_MANY, pairs_at, route

    size = max(1, min(_ROWS, -(-len(words) // engine.num_cpus)))
    given = words.view(np.int64)
    blocks = [
        pa.table({"at": np.arange(first, min(first + size, len(words))), "word": given[first : first + size]})
        for first in range(0, len(words), size)
    ]
    found, n_pairs = [PAIRS.empty_table()], 0
    arrivals = engine.shuffle(blocks, (route, {"radius": radius}), "place", (pairs_at, {"radius": radius}))
    try:
        for some in arrivals:
            check()
            if some is None or not some.num_rows:
                continue
            n_pairs += some.num_rows
            if n_pairs > _MOST_PAIRS or TOO_MANY in some["first"].slice(0, 1).to_pylist():
                return None
            found.append(some.cast(PAIRS))
    finally:
        arrivals.close()
    return pa.concat_tables(found)
