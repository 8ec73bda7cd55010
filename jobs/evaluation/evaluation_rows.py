"""Evaluations as plain values: figures by part, and what is known of a model."""

from __future__ import annotations

import polars as pl

import schemas
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace


def figures_by(workspace: Workspace, evaluation_id: str, part: str) -> dict[str, dict[str, float | None]]:
    """Return the figures of an evaluation for each category, stream or hour, by name, in order."""
    rows = Store(workspace.require().root).open(schemas.EVALUATION_FIGURES).lazy()
    mine = rows.filter(pl.col("evaluation_id") == evaluation_id, pl.col("part") == part).sort("of", "name").collect()
    found: dict[str, dict[str, float | None]] = {}
    for row in mine.iter_rows(named=True):
        found.setdefault(row["of"], {})[row["name"]] = row["value"]
    return found
