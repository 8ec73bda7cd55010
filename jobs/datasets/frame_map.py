"""`winnow map`: places of frames on a plane, computed once and stored, for the map of the pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.choices import CompareBy
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.curate.projection import PACKAGES, FloatArray, umap_plane
from transforms.curate.selection import layout_vectors
from transforms.metrics.hashing import layout_array
from transforms.models.embeddings import vector_array

METHOD = "umap"


@dataclass(frozen=True)
class MapRequest:
    """What frames are compared by, and how they are placed; see `umap_plane`."""

    by: CompareBy = "embedding"
    neighbours: int = 15
    min_distance: float = 0.1
    seed: int = 0

    @property
    def name(self) -> str:
        """Return the name of the projection; one of that name is replaced."""
        return f"{METHOD}-{self.by}"


def make_map(workspace: Workspace, request: MapRequest, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Write the projection of all frames that have a vector, replacing the earlier one, and return counts.

    Vectors are those of the current version, in memory as a whole; of embeddings those of the model that most frames
    have. `check` may raise what ends the work before anything is written. Raises `UserError` where no frame has a
    vector, or the package is missing.
    """
    require("map", *PACKAGES)
    store = Store(workspace.require().root)
    frames, vectors, model = _vectors(View.of(workspace), request.by)
    check()
    plane = umap_plane(vectors, request.neighbours, request.min_distance, request.seed)
    check()
    rows = frames.with_columns(
        projection=pl.lit(request.name),
        method=pl.lit(METHOD),
        model=pl.lit(model, pl.String),
        neighbours=pl.lit(request.neighbours, pl.Int64),
        min_distance=pl.lit(request.min_distance, pl.Float64),
        seed=pl.lit(request.seed, pl.Int64),
        x=pl.Series(plane[:, 0], dtype=pl.Float32),
        y=pl.Series(plane[:, 1], dtype=pl.Float32),
        created_ns=pl.lit(time.time_ns(), pl.Int64),
    )
    schema = schemas.PROJECTIONS.arrow_schema
    earlier = Drop(keys=pa.table({"projection": pa.array([request.name], pa.string())}))
    store.create_tables([schemas.PROJECTIONS])
    store.upsert(schemas.PROJECTIONS, rows.to_arrow().select(schema.names).cast(schema), "map", earlier)
    return {"name": request.name, "method": METHOD, "by": request.by, "model": model, "frames": rows.height}


def _vectors(view: View, by: CompareBy) -> tuple[pl.DataFrame, FloatArray, str | None]:
    """Return the keys of frames that have a vector, in order, their vectors, (N, D), and the model of embeddings."""
    table, column = ("embeddings", "vector") if by == "embedding" else ("fingerprints", "layout")
    wanted = [*FRAME_KEY, column, *(["model"] if by == "embedding" else [])]
    rows = view.lazy(table).select(wanted).drop_nulls(column).collect()
    if not rows.height:
        raise UserError(
            f"--by {by}: no frame of the current version has a vector to compare; run the streams with the stage "
            f"{table} (--add-stage {table})"
        )
    model = None
    if by == "embedding":
        model = str(rows.group_by("model").len().sort("len", "model")["model"][-1])
        rows = rows.filter(pl.col("model") == model)
    rows = rows.sort(FRAME_KEY)
    values = rows.select(column).to_arrow()[column]
    if by == "embedding":
        return rows.select(FRAME_KEY), vector_array(values.cast(pa.list_(pa.float32()))), model
    return rows.select(FRAME_KEY), layout_vectors(layout_array(values)), None
