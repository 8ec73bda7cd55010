"""A clip of any size, which is written at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.helpers import scenery, write_clip


def padded_clip(path: Path, size: int) -> Path:
    """Write a clip that is as large as is wanted: a box of any bytes follows its frames."""
    write_clip(path, scenery(5))
    rest = size - path.stat().st_size
    with open(path, "ab") as file:
        file.write(rest.to_bytes(4, "big") + b"free")
        file.write(np.random.default_rng(0).bytes(rest - 8))
    return path
