"""Taking many frames in portions: small streams together, large ones in spans, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import schemas
from jobs.store import Store

WINDOW = 1 << 15
"""Frames that are looked at together."""

T = TypeVar("T")


def packed(items: Iterable[T], n_frames: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield items in order, as many together as have `most` frames; one that has more stands alone."""
    held: list[T] = []
    size = 0
    for item in items:
        if held and size + n_frames(item) > most:
            yield held
            held, size = [], 0
        held.append(item)
        size += n_frames(item)
    if held:
        yield held


def stream_sizes(store: Store) -> dict[str, int]:
    """Return how many frames each stream of the workspace was listed with."""
    listed = store.read(schemas.STREAMS, ("stream_id", "n_frames"))
    return dict(zip(listed["stream_id"].to_pylist(), listed["n_frames"].to_pylist(), strict=True))
