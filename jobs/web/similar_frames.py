"""Frames that are like one: by the perceptual hash of their layout, or by the vectors of a model."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

import schemas
from jobs.core.errors import UserError
from jobs.web.frame_columns import Array, places
from jobs.web.frame_vectors import are_there, parts, vector_of
from jobs.web.plain import number, plain
from jobs.web.project_data import Shown

SimilarBy = Literal["hash", "embedding"]

_UNKNOWN_BITS = 255


def similar(shown: Shown, row: int, by: SimilarBy, limit: int) -> dict[str, Any]:
    """Return the frames that are nearest to one, without itself, as the API has them.

    `by` is `hash` (distance in bits of 64) or `embedding` (cosine). Raises `UserError` where the frame has neither.
    """
    found = _by_hash(shown, row, limit) if by == "hash" else _by_vector(shown, row, limit)
    return {"by": by, "kinds": kinds(shown), "frames": found}


def kinds(shown: Shown) -> list[SimilarBy]:
    """Return by what frames of the project can be compared."""
    there: list[SimilarBy] = ["hash"] if shown.view.selection.keys.get(schemas.FINGERPRINTS.written_by) else []
    return [*there, "embedding"] if are_there(shown, "embedding") else there


def nearest(shown: Shown, vector: Array, limit: int, but: int | None = None) -> list[dict[str, Any]]:
    """Return the frames whose embeddings are nearest to a vector of length 1, shape (D,), with their cosine."""
    rows, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
    for part in parts(shown, "embedding"):
        if not len(part.rows) or part.vectors.shape[1] != len(vector):
            continue
        rows = np.concatenate([rows, part.rows])
        cosines = np.concatenate([cosines, part.vectors @ vector])
        if len(rows) > limit + 1:
            best = np.argpartition(-cosines, limit)[: limit + 1]
            rows, cosines = rows[best], cosines[best]
    order = np.lexsort((rows, -cosines))
    return [_frame(shown, int(rows[at])) | {"cosine": plain(float(cosines[at]))} for at in order if rows[at] != but][
        :limit
    ]


def _by_vector(shown: Shown, row: int, limit: int) -> list[dict[str, Any]]:
    vector = vector_of(shown, row, "embedding")
    if vector is None:
        raise UserError("this frame has no embedding; run its stream with --add-stage embeddings")
    return nearest(shown, vector, limit, but=row)


def _by_hash(shown: Shown, row: int, limit: int) -> list[dict[str, Any]]:
    hashes, known = shown.frames.held("hashes", (schemas.FINGERPRINTS, schemas.FRAMES), lambda: _hashes(shown))
    if not known[row]:
        raise UserError("this frame has no perceptual hash: it does not decode, or the stage fingerprints has not run")
    bits = np.bitwise_count(hashes ^ hashes[row])
    bits[~known] = _UNKNOWN_BITS
    bits[row] = _UNKNOWN_BITS
    n = min(limit, len(bits) - 1)
    if n < 1:
        return []
    best = np.argpartition(bits, n - 1)[:n]
    best = best[np.lexsort((best, bits[best]))]
    return [_frame(shown, int(at)) | {"hamming": int(bits[at])} for at in best if bits[at] != _UNKNOWN_BITS]


def _hashes(shown: Shown) -> tuple[Array, Array]:
    """Return the perceptual hash of each frame, uint64, and which frames have one; shape (N,) each."""
    n = len(shown.frames.keys)
    hashes, known = np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    for rows in shown.frames.batches(schemas.FINGERPRINTS, ("phash",)):
        there = rows.filter(pc.is_valid(rows["phash"]))
        place = places(shown.frames.keys, there)
        text = "".join(there["phash"].to_pylist())
        values = np.frombuffer(bytes.fromhex(text), ">u8").astype(np.uint64)
        hashes[place[place >= 0]] = values[place >= 0]
        known[place[place >= 0]] = True
    return hashes, known


def _frame(shown: Shown, row: int) -> dict[str, Any]:
    table = shown.frames
    stream, idx = table.keys.frame(row)
    bits = int(table.verdicts.bits[row])
    return {
        "stream_id": stream,
        "frame_idx": number(idx),
        "h": table.hashes([row])[0],
        "keep": bool(bits & 1) if bits & 2 else None,
    }
