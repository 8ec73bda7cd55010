"""Replays and retries of a run: its streams as last listed, and the results that are reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import schemas
from jobs.core.naming import MEASURE
from jobs.passes.pixel_plan import Listed
from jobs.storage.store import Store

_RECOMPUTE = "again"
"""The name of `recompute` on disk."""


@dataclass(frozen=True)
class Replay:
    """How a run descends from its parent, whose streams it processes.

    `start` is the first step that it computes; the stages above are reused. With `recompute`, it computes this one
    stage from stored inputs, and nothing else; with `quarantined` only quarantined frames. The current version moves
    to this run only with `promote`.
    """

    parent: str
    streams: tuple[str, ...]
    start: str = MEASURE
    promote: bool = False
    recompute: str | None = None
    quarantined: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return plain values, as they are kept in the records of a job."""
        values = asdict(self) | {"streams": list(self.streams)}
        values[_RECOMPUTE] = values.pop("recompute")
        return values

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Replay:
        """Return what `as_data` gave. Raises `KeyError` or `TypeError` for what it did not."""
        values = {"recompute" if name == _RECOMPUTE else name: value for name, value in data.items()}
        return cls(**{**values, "streams": tuple(data["streams"])})


def listed(store: Store, streams: Sequence[str]) -> list[Listed]:
    """Return streams as the workspace last listed them; their folders are not read."""
    known = {row["stream_id"]: row for row in store.read(schemas.STREAMS).to_pylist()}
    return [Listed(name, known[name]["step"], known[name]["n_frames"]) for name in streams if name in known]
