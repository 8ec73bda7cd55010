"""Portions of streams that are read together, for bounded memory: small streams together, large ones in spans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

import schemas
from jobs.storage.file_pruning import Span
from jobs.storage.store import Snapshot, Store
from transforms.frames.numbering import spans

WINDOW = 1 << 15
"""Frames that are processed together."""

T = TypeVar("T")


def packed(items: Iterable[T], n_frames: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield items in order, in lists of at most `most` frames; an item that has more is alone in its list."""
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
    listed = store.read(schemas.STREAMS, ("stream_id", "n_frames"), as_seen=True)
    return dict(zip(listed["stream_id"].to_pylist(), listed["n_frames"].to_pylist(), strict=True))


def portions(
    frames: Snapshot, stage_key: str, sizes: Mapping[str, int], streams: frozenset[str]
) -> Iterator[tuple[frozenset[str], Span]]:
    """Cut streams into portions of the frames that a stage has rows for: several small streams, or a span of one."""
    for some in packed(sorted(streams), lambda name: sizes.get(name, 0), WINDOW):
        chosen = frozenset(some)
        if len(some) == 1 and sizes.get(some[0], 0) > WINDOW:
            numbers = np.sort(frames.read(("frame_idx",), stage_key, chosen)["frame_idx"].to_numpy())
            yield from ((chosen, span) for span in spans(numbers, WINDOW))
        else:
            yield chosen, (None, None)
