"""Lists of frames whose order and membership do not change while somebody scrolls through them."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from jobs.web.frame_columns import Array, FrameKeys
from jobs.web.problems import GoneError

_MOST = 128
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class FrameList:
    """Frames in an order: rows of `keys`, shape (N,); None for all of them as they are."""

    keys: FrameKeys
    rows: Array | None

    def __len__(self) -> int:
        return len(self.keys) if self.rows is None else len(self.rows)

    def places(self, start: int, limit: int) -> list[int]:
        """Return the rows of the frames from a place on."""
        total = len(self)
        first, end = min(start, total), min(start + limit, total)
        return [*range(first, end)] if self.rows is None else self.rows[first:end].tolist()

    def page(self, start: int, limit: int) -> list[tuple[str, int]]:
        """Return stream and number of the frames from a place on."""
        return [self.keys.frame(row) for row in self.places(start, limit)]


class Snapshots:
    """The last lists that pages of a project requested; 128 of them, and 64 MB, at most (but always one)."""

    def __init__(self, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._held: OrderedDict[str, FrameList] = OrderedDict()
        self._lock = Lock()

    def add(self, frames: FrameList) -> str:
        """Keep a list, and return its id: the same for the same list."""
        with self._lock:
            for known, held in self._held.items():
                if held is frames:
                    self._held.move_to_end(known)
                    return known
            name = secrets.token_urlsafe(12)
            self._held[name] = frames
            while len(self._held) > 1 and (len(self._held) > self._most or self._n_bytes() > self._most_bytes):
                self._held.popitem(last=False)
        return name

    def get(self, name: str) -> FrameList:
        """Return a list. Raises `GoneError` for one that is not kept any more."""
        with self._lock:
            if name not in self._held:
                raise GoneError("this list of frames is not kept any more; ask for it again without `snapshot`")
            self._held.move_to_end(name)
            return self._held[name]

    def _n_bytes(self) -> int:
        shared = {id(one.keys): one.keys.numbers.nbytes for one in self._held.values()}
        return sum(shared.values()) + sum(one.rows.nbytes for one in self._held.values() if one.rows is not None)
