"""Counts of curation: frames kept, and frames dropped by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from jobs.storage.store import Store
from jobs.views.overridden_verdicts import ALL_REASONS
from jobs.views.snapshot_spec import Selection
from jobs.views.view import View


@dataclass(frozen=True)
class Verdicts:
    """Frames with a verdict, those kept, and for each reason how many frames have it; a frame can have several."""

    frames: int
    kept: int
    reasons: dict[str, int]


def n_kept(store: Store, keys: Mapping[str, str], streams: Sequence[str]) -> int:
    """Return how many frames of some streams are kept, by the rows as they are now.

    `keys` are the stage keys of the tables `frames` and `curation`, by the names of their stages.
    """
    view = View(store, Selection(None, {stage: dict.fromkeys(streams, key) for stage, key in keys.items()}))
    return int(view.lazy("curation").select(pl.col("keep").sum()).collect().item() or 0)


def verdicts(view: View, streams: Sequence[str] | None = None) -> Verdicts:
    """Return the sums for some streams, or for all."""
    rows = view.lazy("curation").select("stream_id", "keep", "reasons")
    if streams is not None:
        rows = rows.filter(pl.col("stream_id").is_in(list(streams)))
    found = rows.select("keep", "reasons").collect()
    counted = found.explode("reasons").drop_nulls("reasons").group_by("reasons").len()
    counts = dict(counted.iter_rows())
    return Verdicts(found.height, int(found["keep"].sum()), {r: counts[r] for r in ALL_REASONS if r in counts})
