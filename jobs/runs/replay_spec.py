"""Runs that descend from another: over its streams as they were last listed, reusing what it computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import schemas
from jobs.passes.pixel_plan import Listed
from jobs.stages.pipeline import MEASURE
from jobs.storage.store import Store


@dataclass(frozen=True)
class Replay:
    """How a run descends from its parent, whose streams it takes.

    `start` is the first step that it computes; what is above is taken as it is. With `again`, it computes this one
    stage once more from stored inputs, and nothing else; with `quarantined` only frames that were set aside. Heads move
    only with `promote`.
    """

    parent: str
    streams: tuple[str, ...]
    start: str = MEASURE
    promote: bool = False
    again: str | None = None
    quarantined: bool = False


def listed(store: Store, streams: Sequence[str]) -> list[Listed]:
    """Return streams as the workspace last saw them; their folders are not looked at."""
    known = {row["stream_id"]: row for row in store.read(schemas.STREAMS).to_pylist()}
    return [Listed(name, known[name]["step"], known[name]["n_frames"]) for name in streams if name in known]
