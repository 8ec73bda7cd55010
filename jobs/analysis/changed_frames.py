"""The frames in which two finished runs differ: those whose verdict changed, or whose rows of another table did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

import schemas
from jobs.analysis.run_diff import selected_rows
from jobs.core.errors import UserError
from jobs.storage.store import Store
from jobs.views.table_diff import between

TABLES = tuple(table.name for table in schemas.ALL if table.has_stage_key and "frame_idx" in table.arrow_schema.names)
"""Tables with rows of single frames."""

MOST = 5000
"""Rows of a table other than verdicts that are compared one by one."""

_KEY = list(schemas.FRAME_KEY)
_VERDICT = ("keep", "reasons")


def changed_frames(store: Store, one: str, other: str, table: str) -> list[dict[str, Any]]:
    """Return the frames in which two runs differ, in order of stream and number.

    Each has `stream_id` and `frame_idx`; of verdicts `kept` and `reasons_before` as they were, `keep` and `reasons` as
    they are then, None where there was none, and only frames that changed sides; of other tables `changes`, a list
    with one entry per row: `only` (`before` or `after`), or what `changed` by column as [before, after]. Raises
    `UserError` for a table without rows of frames, and as `run_diff` does.
    """
    if table not in TABLES:
        raise UserError(f"table {table!r} has no rows of frames; expected one of {', '.join(TABLES)}")
    declared = schemas.BY_NAME[table]
    before, after = (selected_rows(store, job_id, declared) for job_id in (one, other))
    if declared is schemas.CURATION:
        return _verdicts(before, after)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in between(declared, before, after, shown=MOST).examples:
        frame = found.setdefault(
            (row["stream_id"], row["frame_idx"]), {name: row[name] for name in _KEY} | {"changes": []}
        )
        frame["changes"].append(_change(row))
    return [found[key] for key in sorted(found)]


def _change(row: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: values for name, values in row.get("changed", {}).items() if not isinstance(values[0], bytes)}
    return {"only": row.get("only"), "changed": changed}


def _verdicts(before: pl.DataFrame, after: pl.DataFrame) -> list[dict[str, Any]]:
    was = before.select(*_KEY, pl.col("keep").alias("kept"), pl.col("reasons").alias("reasons_before"))
    both = was.join(after.select(*_KEY, *_VERDICT), on=_KEY, how="full", coalesce=True)
    return both.filter(pl.col("kept").ne_missing(pl.col("keep"))).sort(_KEY).to_dicts()
