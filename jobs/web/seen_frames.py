"""Frames that a job has just found objects on: where their images are, before the tables show its rows.

The first run of a stream becomes the current version when it is done; until then its frames are known by its own rows.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

from blake3 import blake3

import schemas
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.web.media import Wanted
from jobs.web.plain import number, plain

_MOST = 64
_COLUMNS = ("frame_idx", "uri", "content_hash", "status", "white_level", "width", "height")


class SeenFrame(NamedTuple):
    """What is needed to make the image of a frame, and its size in pixels."""

    wanted: Wanted
    width: int
    height: int


class SeenFrames:
    """The frames of all jobs that people watch; safe to use from many threads."""

    def __init__(self) -> None:
        self._one = Lock()
        self._keys: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._known: OrderedDict[tuple[str, str, str, int], SeenFrame] = OrderedDict()

    def find(self, workspace: Workspace, job_id: str, stream: str, idx: int) -> SeenFrame | None:
        """Return a frame by the rows of a job; None for one that does not decode, or has no row yet."""
        key = (str(workspace.root), job_id, stream, idx)
        with self._one:
            found = self._known.get(key) or self._read(workspace, job_id, stream, idx)
            if found is not None:
                self._known[key] = found
                self._known.move_to_end(key)
                while len(self._known) > _MOST:
                    self._known.popitem(last=False)
            return found

    def shown(self, workspace: Workspace, job_id: str, frames: Any) -> list[dict[str, Any]]:
        """Return frames as the journal has them, with their sizes; those that have no image yet are left out."""
        shown = []
        for frame in frames:
            found = self.find(workspace, job_id, frame["stream_id"], frame["frame_idx"])
            if found is not None:
                size = {"width": found.width, "height": found.height}
                about = {**frame, "frame_idx": number(frame["frame_idx"]), "h": found.wanted.content_hash[:16]}
                shown.append(plain({**about, **size}))
        return shown

    def _read(self, workspace: Workspace, job_id: str, stream: str, idx: int) -> SeenFrame | None:
        store = Store(workspace.root)
        key = self._key_of(store, job_id)
        if key is None:
            return None
        rows = store.open(schemas.FRAMES).read(_COLUMNS, key, frozenset({stream}), (idx, idx + 1)).to_pylist()
        if not rows or rows[0]["status"] != "ok":
            return None
        row = rows[0]
        cache_name = blake3(f"{store.root}\0{stream}\0{key}\0{row['content_hash']}".encode()).hexdigest()[:32]
        label = f"frame {idx} of stream {stream[:100]}"
        wanted = Wanted(cache_name, row["uri"], row["content_hash"], row["white_level"], label)
        return SeenFrame(wanted, row["width"], row["height"])

    def _key_of(self, store: Store, job_id: str) -> str | None:
        """Return the key under which a job has a row for each frame; None before it has noted it down."""
        name = (str(store.root), job_id)
        if name not in self._keys:
            runs = store.read(schemas.STAGE_RUNS, ("job_id", "stage", "stage_key")).to_pylist()
            mine = [row for row in runs if row["job_id"] == job_id and row["stage"] == schemas.FRAMES.written_by]
            if not mine:
                return None
            self._keys[name] = mine[0]["stage_key"]
            while len(self._keys) > _MOST:
                self._keys.popitem(last=False)
        return self._keys[name]
