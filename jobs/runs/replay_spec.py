"""Runs that descend from another: over its streams as they were last listed, reusing what it computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.passes.pixel_plan import Listed
from jobs.stages.pipeline import MEASURE
from jobs.storage.store import Store
from schemas import FRAME_KEY


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


def only_quarantined(todo: Iterator[pa.Table], store: Store) -> Iterator[pa.Table]:
    """Leave of a plan what was set aside, and the frames before these that motion needs."""
    held = pl.DataFrame(store.read(schemas.QUARANTINE, FRAME_KEY)).unique()
    for rows in todo:
        keys = pl.DataFrame(rows.select(FRAME_KEY)).with_row_index("at")
        at = keys.join(held, on=FRAME_KEY, how="semi")["at"].to_numpy()
        wanted = np.zeros(rows.num_rows, np.bool_)
        wanted[at] = rows["wanted"].to_numpy()[at]
        leads = np.zeros(rows.num_rows, np.bool_)
        leads[:-1] = wanted[1:] & rows["follows"].to_numpy()[1:]
        if not wanted.any():
            continue
        # A row that only leads follows nothing here: what came before it may have been left out.
        changed = {"wanted": wanted, "follows": rows["follows"].to_numpy() & wanted}
        columns = {name: pa.array(changed[name]) if name in changed else rows[name] for name in rows.column_names}
        yield pa.table(columns, schema=rows.schema).filter(pa.array(wanted | leads))
