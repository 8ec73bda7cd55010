"""Restriction of a plan of the pixel pass to quarantined frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

import schemas
from jobs.storage.store import Store
from schemas import FRAME_KEY


def only_quarantined(todo: Iterator[pa.Table], store: Store) -> Iterator[pa.Table]:
    """Yield of a plan the quarantined frames, and the frames before these that motion needs."""
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
