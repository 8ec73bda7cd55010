"""A loop, its rounds and their steps as rows of tables, made of its records, and as records for pages and commands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import schemas
from jobs.active_learning import spending
from jobs.active_learning.loop_log import LoopRound, LoopState
from jobs.active_learning.options import Step
from jobs.core.plain_values import finite
from jobs.storage.store import Store

STATES: Mapping[Step, str] = {
    "annotate": "annotating",
    "route": "routing",
    "escalate": "escalating",
    "review": "waiting_for_people",
    "release": "releasing",
    "train": "training",
    "evaluate": "evaluating",
    "promote": "promoting",
    "decide": "deciding",
}
"""The state of a loop at each step."""


@dataclass(frozen=True)
class CurvePoint:
    """A round on the curve of a loop: what its version reached, and all that was used up to then.

    `low` and `high` bound the difference of AP to the version before; None where there is none.
    """

    round: int
    frames: int
    usd: float
    minutes: float
    ap: float | None
    ap50: float | None
    low: float | None
    high: float | None


def state_of(state: LoopState) -> tuple[str, str]:
    """Return the state of a loop, and why it is there."""
    if state.ended is not None:
        return state.ended
    current = state.current
    step = (current.step if current else None) or "annotate"
    done = [each.why for each in (current.steps.values() if current else ()) if each.why and not each.skip]
    last = state.rounds[-1].steps.get("decide") if state.rounds else None
    before = last.why if last and last.why else "it was started"
    return STATES[step], done[-1] if done else before


def curve(store: Store, state: LoopState) -> list[CurvePoint]:
    """Return the rounds that have trained a version and were not undone, in order."""
    points = []
    frames, usd, minutes = 0, 0.0, 0.0
    for each in state.rounds:
        used = spending.of_round(store, each)
        frames, usd, minutes = frames + used.frames, usd + used.usd, minutes + used.minutes
        found = each.result("evaluate")
        if found and not each.is_undone:
            bounds = found.get("difference") or {}
            low, high = bounds.get("low"), bounds.get("high")
            points.append(CurvePoint(each.number, frames, usd, minutes, found.get("AP"), found.get("AP50"), low, high))
    return points


def round_row(store: Store, name: str, each: LoopRound) -> dict[str, Any]:
    """Return the row of a round in `loop_rounds`."""
    asked, review, trained = each.result("route"), each.result("review"), each.result("train")
    found, promoted, decided = each.result("evaluate"), each.result("promote"), each.steps.get("decide")
    bounds = found.get("difference") or {}
    used = spending.of_round(store, each)
    row = {
        "loop": name,
        "round": each.number,
        "step": each.step or "decide",
        "is_undone": each.is_undone,
        "frames_asked": asked.get("frames"),
        "frames_random": asked.get("random"),
        "frames_reviewed": review.get("frames"),
        **{key: review.get(key) for key in ("approved", "corrected", "added", "rejected")},
        **{key: review.get(key) for key in ("errors_uncertain", "errors_random")},
        "usd": used.usd,
        "training_minutes": used.minutes if trained else None,
        "release": each.result("release").get("release"),
        "version": promoted.get("version"),
        "model_id": trained.get("model_id"),
        "evaluation_id": found.get("evaluation_id"),
        "ap": found.get("AP"),
        "ap50": found.get("AP50"),
        "difference": bounds.get("mean"),
        "low": bounds.get("low"),
        "high": bounds.get("high"),
        "verdict": found.get("verdict"),
        "promoted": promoted.get("alias"),
        "decision": each.result("decide").get("decision"),
        "why": decided.why if decided else None,
    }
    return dict(finite(row))


def write(store: Store, name: str, state: LoopState) -> None:
    """Write what the records of a loop say as rows; the same records give the same rows."""
    now, why = state_of(state)
    loop = {
        "loop": name,
        "job_id": state.job_id,
        "state": now,
        "reason": why,
        "request": json.dumps(state.options.model_dump(mode="json"), sort_keys=True),
        "by": state.options.by,
        "started_ns": state.started_ns,
        "ended_ns": state.ended_ns,
    }
    rounds = [round_row(store, name, each) for each in state.rounds[-1:]]
    undone = [round_row(store, name, each) for each in state.rounds[:-1] if each.is_undone]
    steps = [
        {
            "loop": name,
            "round": each.number,
            "step": step.step,
            "job_id": step.job_id,
            "state": "begun" if step.result is None else "skipped" if step.skip else "done",
            "why": step.why,
            "result": None if step.result is None else json.dumps(finite(dict(step.result)), sort_keys=True),
            "began_ns": step.began_ns,
            "ended_ns": step.ended_ns,
        }
        for each in state.rounds[-1:]
        for step in each.steps.values()
    ]
    tables: Sequence[tuple[schemas.Table, Sequence[Mapping[str, Any]]]] = (
        (schemas.LOOP_STEPS, steps),
        (schemas.LOOP_ROUNDS, [*undone, *rounds]),
        (schemas.LOOPS, [loop]),
    )
    store.create_tables([table for table, _ in tables])
    for table, rows in tables:
        if rows:
            fresh = pa.Table.from_pylist([dict(row) for row in rows], table.arrow_schema)
            store.upsert(table, fresh, state.job_id)
