"""How a run descends from another one: over its streams as they were last listed, reusing its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.passes.pixel_plan import Listed
from jobs.stages.pipeline import MEASURE
from jobs.storage.store import Store

_KEY = list(schemas.FRAME_KEY)
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


def only_quarantined(todo: Iterator[pa.Table], store: Store) -> Iterator[pa.Table]:
    """Yield the quarantined frames of a plan, and the frames before these that motion needs."""
    held = pl.DataFrame(store.read(schemas.QUARANTINE, _KEY)).unique()
    for rows in todo:
        keys = pl.DataFrame(rows.select(_KEY)).with_row_index("at")
        at = keys.join(held, on=_KEY, how="semi")["at"].to_numpy()
        wanted = np.zeros(rows.num_rows, np.bool_)
        wanted[at] = rows["wanted"].to_numpy()[at]
        leads = np.zeros(rows.num_rows, np.bool_)
        leads[:-1] = wanted[1:] & rows["follows"].to_numpy()[1:]
        if not wanted.any():
            continue
        # A frame that is there for motion alone follows no other: the one before it may have been left out.
        changed = {"wanted": wanted, "follows": rows["follows"].to_numpy() & wanted}
        columns = {name: pa.array(changed[name]) if name in changed else rows[name] for name in rows.column_names}
        yield pa.table(columns, schema=rows.schema).filter(pa.array(wanted | leads))
