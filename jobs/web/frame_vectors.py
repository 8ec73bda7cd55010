"""Vectors of frames, read in parts: of a model that embeds them, or of the layout that every measured frame has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.web.frame_columns import Array, places
from jobs.web.frame_table import free_unused
from jobs.web.project_data import Shown
from transforms.models.embeddings import vector_array

By = Literal["embedding", "layout"]
KINDS: tuple[By, ...] = get_args(By)

_LAYOUT_CELLS = 64
_ENOUGH_CONTRAST = 1e-3


class Vectors(NamedTuple):
    """Some frames: their rows, shape (M,), and their vectors, float32, shape (M, D)."""

    rows: Array
    vectors: Array


def table_of(by: By) -> schemas.Table:
    """Return the table that vectors come from."""
    return schemas.EMBEDDINGS if by == "embedding" else schemas.FINGERPRINTS


def are_there(shown: Shown, by: By) -> bool:
    """Return whether the project shows any rows of the table that vectors come from."""
    return bool(shown.view.selection.keys.get(table_of(by).written_by))


def parts(shown: Shown, by: By) -> Iterator[Vectors]:
    """Yield the vectors of all frames that have one, in no order; a few thousand at a time.

    Embeddings are of length 1, and of the model alone that most frames were shown. Layouts are the mean luma of 8x8
    cells less their mean, of length 1, so that the product of two is their correlation; those of frames without any
    contrast are left out.
    """
    wanted = model_of(shown) if by == "embedding" else None
    for rows in _batches(shown, by):
        if by == "layout":
            yield _layouts(shown, rows)
        elif wanted is not None:
            mine = rows.filter(pc.equal(rows["model"], wanted))
            place = places(shown.frames.keys, mine)
            there = place >= 0
            yield Vectors(place[there], vector_array(mine["vector"])[there] if mine.num_rows else np.empty((0, 0)))
    free_unused()


def vector_of(shown: Shown, row: int, by: By) -> Array | None:
    """Return the vector of one frame, shape (D,); None where it has none."""
    stored = shown.frames.stored_rows(table_of(by), row)
    if not stored.num_rows:
        return None
    if by == "embedding":
        return vector_array(stored["vector"])[0] if stored["model"][0].as_py() == model_of(shown) else None
    found = _layouts(shown, stored).vectors
    return found[0] if len(found) else None


def model_of(shown: Shown) -> str | None:
    """Return the model that most frames were embedded by."""
    return shown.frames.held("model", (schemas.EMBEDDINGS,), lambda: _count_models(shown))


def _count_models(shown: Shown) -> str | None:
    counts: dict[str, int] = {}
    for rows in shown.frames.batches(schemas.EMBEDDINGS, ("model",)):
        for entry in pc.value_counts(rows["model"].combine_chunks()).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return max(counts, key=lambda name: (counts[name], name)) if counts else None


def _batches(shown: Shown, by: By) -> Iterator[pa.Table]:
    columns = ("model", "vector") if by == "embedding" else ("layout",)
    yield from shown.frames.batches(table_of(by), columns)


def _layouts(shown: Shown, rows: pa.Table) -> Vectors:
    rows = rows.filter(pc.equal(pc.binary_length(rows["layout"]), _LAYOUT_CELLS))
    place = places(shown.frames.keys, rows)
    flat = np.frombuffer(b"".join(rows["layout"].to_pylist()), np.uint8).reshape(-1, _LAYOUT_CELLS)
    cells = flat.astype(np.float32)
    cells -= cells.mean(axis=1, keepdims=True)
    length = np.linalg.norm(cells, axis=1)
    there = (place >= 0) & (length > _ENOUGH_CONTRAST)
    return Vectors(place[there], cells[there] / length[there, None])
