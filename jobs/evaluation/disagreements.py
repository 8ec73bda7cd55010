"""What one or two models found on the frames of an evaluation, those first on which they differ, or err, most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import schemas
from jobs.core.errors import UserError
from jobs.storage.store import Store
from transforms.assess.box_matching import overlaps

SAME_OVERLAP = 0.5
"""Two boxes of one category that overlap by this much are the same object."""

_EDGES = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_COLUMNS = ("stream_id", "frame_idx", "content_hash", "unit", "correct", "wrong", "missed", "found")

Box = Mapping[str, Any]


def frames_of(store: Store, evaluation_id: str, against_id: str | None = None) -> list[dict[str, Any]]:
    """Return the frames of an evaluation, with boxes from the score of the best F1 on, and the objects that there are.

    Alone, frames with the most errors come first; with another evaluation of the same frames, those on which most boxes
    of one have no partner in the other: `alone` of a box says so, and `disagreements` counts them. `other` has what the
    other model found. Raises `UserError` for evaluations that are not there, or of other frames.
    """
    mine = _evaluation(store, evaluation_id)
    theirs = _evaluation(store, against_id) if against_id else None
    if theirs is not None and theirs["content"] != mine["content"]:
        raise UserError(
            f"{_named(mine)} and {_named(theirs)} were measured on different frames, which cannot be compared: measure "
            f"them on the same, with `winnow evaluate model {_named(mine)} --against {_named(theirs)}`"
        )
    frames = [_frame(row, mine["min_score"]) | {"labelled": row["labelled"]} for row in _rows(store, mine, "labelled")]
    if theirs is None:
        return sorted(frames, key=lambda each: -(each["wrong"] + each["missed"]))
    others = {(row["stream_id"], row["frame_idx"]): row for row in _rows(store, theirs)}
    found = []
    for frame in frames:
        other = _frame(others[frame["stream_id"], frame["frame_idx"]], theirs["min_score"])
        ours, alone = _apart(frame["found"], other["found"])
        frame["found"] = [{**box, "alone": bool(is_alone)} for box, is_alone in zip(frame["found"], ours, strict=True)]
        frame["other"] = {
            **{name: other[name] for name in ("correct", "wrong", "missed")},
            "found": [{**box, "alone": bool(is_alone)} for box, is_alone in zip(other["found"], alone, strict=True)],
        }
        frame["disagreements"] = int(ours.sum() + alone.sum())
        found.append(frame)
    return sorted(found, key=lambda each: -each["disagreements"])


def _evaluation(store: Store, evaluation_id: str) -> dict[str, Any]:
    names = ("evaluation_id", "name", "version", "content", "min_score")
    rows = [row for row in store.read(schemas.EVALUATIONS, names).to_pylist() if row["evaluation_id"] == evaluation_id]
    if not rows:
        raise UserError(f"there is no evaluation {evaluation_id[:100]!r}")
    return dict(rows[0])


def _named(evaluation: Mapping[str, Any]) -> str:
    return f"{evaluation['name']}@{evaluation['version']}"


def _rows(store: Store, evaluation: Mapping[str, Any], *more: str) -> list[dict[str, Any]]:
    rows = store.open(schemas.EVALUATION_FRAMES).lazy().filter(pl.col("evaluation_id") == evaluation["evaluation_id"])
    return rows.select(*_COLUMNS, *more).sort("stream_id", "frame_idx").collect().to_dicts()


def _frame(row: Mapping[str, Any], min_score: float) -> dict[str, Any]:
    # Scores are stored with 24 bits: what is written as the least score counts.
    least = float(np.float32(min_score))
    return {name: row[name] for name in _COLUMNS} | {"found": [box for box in row["found"] if box["score"] >= least]}


def _apart(ours: Sequence[Box], theirs: Sequence[Box]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which boxes of each have no partner in the other: each takes the free one that it overlaps most."""
    alone = np.ones(len(ours), np.bool_), np.ones(len(theirs), np.bool_)
    if not len(ours) or not len(theirs):
        return alone
    shared = overlaps(_boxes(ours), _boxes(theirs), np.zeros(len(theirs), np.bool_))
    same = np.array([[one["category"] == other["category"] for other in theirs] for one in ours])
    shared = np.where(same, shared, 0.0)
    for at in np.argsort([-box["score"] for box in ours], kind="stable"):
        best = int(np.where(alone[1], shared[at], -1.0).argmax())
        if alone[1][best] and shared[at][best] >= SAME_OVERLAP:
            alone[0][at] = alone[1][best] = False
    return alone


def _boxes(found: Sequence[Box]) -> npt.NDArray[np.float64]:
    return np.array([[box[edge] for edge in _EDGES] for box in found], np.float64).reshape(-1, 4)
