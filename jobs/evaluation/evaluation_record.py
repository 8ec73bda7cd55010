"""The rows of an evaluation: figures, what was found on each frame, the frames with most errors, and comparisons."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

import schemas
from jobs.core.naming import many
from jobs.core.plain_values import finite
from jobs.evaluation.model_figures import ModelFigures
from jobs.evaluation.test_side import TestSide
from jobs.evaluation.worst_frames import worst_named
from jobs.models.registry import ModelVersion
from jobs.records.run_record import environment
from jobs.storage.store import Drop, Store
from transforms.assess.box_matching import FoundBoxes
from transforms.assess.paired_bootstrap import Difference, PairedComparison, compare

WORST = 50
"""Frames in the selection of those with the most errors."""

_VERSION = "1"
"""Raised where what is measured changes, so that it is measured again."""


@dataclass(frozen=True)
class Evaluated:
    """A model with what it found, as rows have it or as it was just measured."""

    evaluation_id: str
    version: ModelVersion
    figures: ModelFigures


def id_of(version: ModelVersion, side: TestSide) -> str:
    """Return the id of the evaluation of a model on frames: what was measured once has the same one."""
    identity = f"{_VERSION}\x1f{version.model_id}\x1f{side.content}\x1f{side.measured}\x1f{side.split_seed}"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def record(
    store: Store,
    job_id: str,
    evaluation_id: str,
    version: ModelVersion,
    side: TestSide,
    found: Sequence[FoundBoxes],
    figures: ModelFigures,
    milliseconds: float,
    others: Sequence[str],
) -> None:
    """Write the rows of an evaluation, its own last: where that is, the others are.

    `found` are the boxes on each image; `milliseconds` the median of a frame, `others` categories that are none here.
    """
    errors = figures.errors
    frames = [
        {
            "evaluation_id": evaluation_id,
            "stream_id": image.stream_id,
            "frame_idx": image.frame_idx,
            "content_hash": side.content_hashes[at],
            "unit": side.units[at],
            "correct": int(errors.correct[at]),
            "wrong": int(errors.wrong[at]),
            "missed": int(errors.missed[at]),
            "found": [
                {"category": side.classes[label], "score": score, **_edges(box)}
                for box, score, label in zip(
                    found[at].boxes.tolist(), found[at].scores.tolist(), found[at].labels.tolist(), strict=True
                )
            ],
            "labelled": [
                {"category": side.classes[label], **_edges((x, y, right - x, low - y)), "is_crowd": crowd}
                for (x, y, right, low), label, crowd in zip(
                    image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist(), strict=True
                )
            ],
        }
        for at, image in enumerate(side.images)
    ]
    parts = [
        {
            "evaluation_id": evaluation_id,
            "part": part,
            "of": of,
            "name": name,
            "value": finite(value),
        }
        for part, of, name, value in figures.figures
    ]
    row = {
        "evaluation_id": evaluation_id,
        "model_id": version.model_id,
        "name": version.name,
        "version": version.version,
        "release": side.measured.release,
        "split": side.measured.split,
        "split_seed": side.split_seed,
        "content": side.content,
        "frames": len(side.images),
        "objects": int(figures.value("objects")),
        "units": len(set(side.units)),
        **finite({"ap": figures.value("AP"), "ap50": figures.value("AP50")}),
        "min_score": figures.min_score,
        "ms_per_frame": milliseconds,
        "report": json.dumps({**figures.report, "other_categories": list(others), "unseen": side.unseen}),
        "environment": json.dumps(environment()),
        "job_id": job_id,
        "created_ns": time.time_ns(),
    }
    earlier = Drop(keys=pa.table({"evaluation_id": pa.array([evaluation_id], pa.string())}))
    tables = ((schemas.EVALUATION_FRAMES, frames), (schemas.EVALUATION_FIGURES, parts), (schemas.EVALUATIONS, [row]))
    store.create_tables([table for table, _ in tables])
    for table, rows in tables:
        store.upsert(table, pa.Table.from_pylist(rows, table.arrow_schema), job_id, earlier)
    _select_worst(store, version, side, figures)


def record_comparison(store: Store, job_id: str, side: TestSide, mine: Evaluated, other: Evaluated) -> dict[str, Any]:
    """Compare two models on the same frames, record that, and return it as plain values."""
    places = {unit: at for at, unit in enumerate(sorted(set(side.units)))}
    units = np.array([places[unit] for unit in side.units], np.int64)
    seed = f"{mine.evaluation_id}:{other.evaluation_id}"
    found = compare(mine.figures.matches, other.figures.matches, units, seed)
    classes = {
        name: {"objects": int(match.objects[0].sum()), **_plain(each)}
        for name, match, each in zip(side.classes, mine.figures.matches, found.categories, strict=True)
    }
    row = {
        "evaluation_id": mine.evaluation_id,
        "against_id": other.evaluation_id,
        "verdict": found.verdict,
        **{("difference" if name == "mean" else name): value for name, value in _plain(found.all).items()},
        "classes": json.dumps(classes),
        "units": found.units,
        "draws": found.draws,
        "job_id": job_id,
        "created_ns": time.time_ns(),
    }
    store.create_tables([schemas.COMPARISONS])
    store.upsert(schemas.COMPARISONS, pa.Table.from_pylist([row], schemas.COMPARISONS.arrow_schema), job_id)
    return {"model": other.version.reference, "AP": other.figures.value("AP"), **_said(found), "classes": classes}


def _edges(box: Sequence[float]) -> dict[str, float]:
    return dict(zip(("bbox_x", "bbox_y", "bbox_w", "bbox_h"), box, strict=True))


def _select_worst(store: Store, version: ModelVersion, side: TestSide, figures: ModelFigures) -> None:
    """Make a selection of the frames with the most errors, to be reviewed: often it is the labels that are wrong."""
    errors = figures.errors
    total = errors.wrong + errors.missed
    order = np.argsort(-total, kind="stable")[:WORST]
    name, now = worst_named(version.name, version.version), time.time_ns()
    rows = [
        {
            "selection": name,
            "stream_id": side.images[at].stream_id,
            "frame_idx": side.images[at].frame_idx,
            "content_hash": side.content_hashes[at],
            "rank": rank,
            "strategy": "worst",
            "stratum": "",
            "reason": f"{many(int(errors.missed[at]), 'object')} missed, {int(errors.wrong[at])} boxes that are none",
            "value": float(total[at]),
            "created_ns": now,
        }
        for rank, at in enumerate(at for at in order if total[at])
    ]
    store.create_tables([schemas.SELECTIONS])
    earlier = Drop(keys=pa.table({"selection": pa.array([name], pa.string())}))
    rows_of = pa.Table.from_pylist(rows, schemas.SELECTIONS.arrow_schema)
    store.upsert(schemas.SELECTIONS, rows_of, "evaluate", earlier)


def _said(found: PairedComparison) -> dict[str, Any]:
    return {"verdict": found.verdict, "difference": _plain(found.all), "units": found.units, "draws": found.draws}


def _plain(each: Difference) -> dict[str, float | None]:
    plain: dict[str, float | None] = finite(vars(each))
    return plain
