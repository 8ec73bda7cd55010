"""Random numbers that are a hash of what they are for, so that no result depends on order, workers or interruptions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from blake3 import blake3


def generator_for(seed: int, epoch: int, image: str) -> np.random.Generator:
    """Return the random numbers of one image in one epoch: the same ones whenever, and wherever, they are drawn."""
    state = blake3(f"{seed}\x1f{epoch}\x1f{image}".encode("utf-8", "surrogatepass")).digest(16)
    return np.random.Generator(np.random.PCG64(int.from_bytes(state, "little")))


def epoch_order(seed: int, epoch: int, images: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the order of N images in an epoch, shape (N,): a permutation of their positions.

    Images are named by their ids, all different, and are ordered by a hash of seed, epoch and id: adding one image
    moves no other two against each other.
    """
    if len(set(images)) != len(images):
        raise ValueError("expected images with different ids")
    keys = [_hashed(f"{seed}\x1f{epoch}\x1f{image}\x1forder") for image in images]
    return np.array(sorted(range(len(images)), key=lambda at: (keys[at], images[at])), np.int64)


def _hashed(text: str) -> int:
    return int.from_bytes(blake3(text.encode("utf-8", "surrogatepass")).digest(8), "little")
