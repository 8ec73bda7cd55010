"""Differences between the rows of two views, table by table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

import schemas
from conf.stage_spec import Comparison
from conf.stages import spec_of
from jobs.core.stage import Stage
from jobs.storage.store import Store
from schemas import FRAME_KEY

# Where a row came from, not what it says.
_ORIGIN = frozenset({"stage_key", "input_id", "stat_id", "mtime_ns", "size_bytes", "uri"})
_SHOWN = 5


@dataclass(frozen=True)
class TableDiff:
    """How rows differ, counted; `columns` says in which columns, `verdicts` for what reasons frames changed sides.

    `examples` are the first few rows that differ, in order of their keys.
    """

    n_before: int
    n_after: int
    added: int = 0
    gone: int = 0
    changed: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def n_differing(self) -> int:
        """Return how many rows are in one of the two only, or are not the same in both."""
        return self.added + self.gone + self.changed


def stored(store: Store, stage: Stage, streams: Iterable[str]) -> pl.DataFrame:
    """Return the rows that streams have of a stage now."""
    return pl.DataFrame(store.open(stage.table).read(None, stage.key, frozenset(streams)))


def between(
    table: schemas.Table, before: pl.DataFrame, after: pl.DataFrame, tolerance: float = 0.0, shown: int = _SHOWN
) -> TableDiff:
    """Compare the rows of one stage; numbers that are measured may differ by `tolerance`.

    Of duplicates the groups count, not their ids: a frame differs if its group has other members.
    """
    spec = spec_of(table)
    how = spec.comparison if spec and table is spec.table else Comparison()
    if how.groups:
        before, after = _grouped(before, after)
    key = [*how.key] or [name for name in table.file_key if name in before.columns]
    ignored = _ORIGIN | how.derived | set(key)
    columns = [name for name in before.columns if name not in ignored]
    both = before.join(after, on=key, suffix="_after", maintain_order="left").sort(key)
    differs = [_differs(before.schema[name], name, tolerance).alias(f"{name}_differs") for name in columns]
    marked = both.with_columns(differs) if columns else both
    flags = [f"{name}_differs" for name in columns]
    changed = marked.filter(pl.any_horizontal(flags)) if flags else marked.clear()
    added, gone = after.join(before, on=key, how="anti").sort(key), before.join(after, on=key, how="anti").sort(key)
    examples = [
        *({**row, "only": "before"} for row in gone.select(key).head(shown).to_dicts()),
        *({**row, "only": "after"} for row in added.select(key).head(shown).to_dicts()),
        *(_example(row, key, columns) for row in changed.head(shown).to_dicts()),
    ]
    return TableDiff(
        n_before=before.height,
        n_after=after.height,
        added=added.height,
        gone=gone.height,
        changed=changed.height,
        columns={name: n for name in columns if (n := int(marked[f"{name}_differs"].sum()))},
        verdicts=_verdicts(changed) if how.verdicts else {},
        examples=examples[:shown],
    )


def _differs(dtype: pl.DataType, name: str, tolerance: float) -> pl.Expr:
    one, other = pl.col(name), pl.col(f"{name}_after")
    if not dtype.is_float():
        return one.ne_missing(other)
    apart = (one.cast(pl.Float64) - other.cast(pl.Float64)).abs() > tolerance
    return apart.fill_null(False) | (one.is_null() != other.is_null())


def _example(row: dict[str, Any], key: list[str], columns: list[str]) -> dict[str, Any]:
    changed = {name: [row[name], row[f"{name}_after"]] for name in columns if row[f"{name}_differs"]}
    return {name: row[name] for name in key} | {"changed": changed}


def _verdicts(changed: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return for what reasons frames are dropped now that were kept, and the other way round."""
    sides = {
        "newly_dropped": (pl.col("keep") & ~pl.col("keep_after"), "reasons_after"),
        "newly_kept": (~pl.col("keep") & pl.col("keep_after"), "reasons"),
    }
    found = {}
    for name, (side, reasons) in sides.items():
        frames = changed.filter(side)
        counted = frames.explode(reasons).group_by(reasons).len().sort(reasons)
        found[name] = {"frames": frames.height} | {str(r): n for r, n in counted.iter_rows() if r is not None}
    return found


def _grouped(before: pl.DataFrame, after: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Name groups alike that have the same members: after them, by their first frame, in both."""
    both = before.select(*FRAME_KEY, "group_id").join(
        after.select(*FRAME_KEY, pl.col("group_id").alias("other")), on=FRAME_KEY
    )
    shared = both.group_by("group_id", "other").len("n_both")
    sizes = before.group_by("group_id").len("n_before")
    others = after.group_by("group_id").len("n_after").rename({"group_id": "other"})
    same = (
        shared.join(sizes, on="group_id")
        .join(others, on="other")
        .filter((pl.col("n_both") == pl.col("n_before")) & (pl.col("n_both") == pl.col("n_after")))
        .select("other", pl.col("group_id").alias("name"))
    )
    renamed = after.join(same, left_on="group_id", right_on="other", how="left", maintain_order="left")
    # A group that is new may bear an old name, if it was built around the same frame.
    fresh = pl.coalesce("name", pl.concat_str(pl.col("group_id"), pl.lit("'")))
    return before, renamed.with_columns(group_id=fresh).drop("name")
