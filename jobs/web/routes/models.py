"""Versions of models with their evidence, evaluations, and promotion."""

from __future__ import annotations

import json
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path, Request
from pydantic import Field

import schemas
from jobs.core.errors import UserError
from jobs.core.plain_values import finite
from jobs.dispatch import tasks
from jobs.evaluation import promotion
from jobs.evaluation.evaluation_rows import figures_by
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.promotion import CHAMPION
from jobs.evaluation.test_side import uses_of
from jobs.evaluation.worst_frames import worst_named
from jobs.models import registry
from jobs.models.registry_overview import described
from jobs.storage.store import Store
from jobs.web.identity import Me
from jobs.web.plain import utc
from jobs.web.problems import ForbiddenError, MissingError
from jobs.web.routes.bodies import Body
from jobs.web.routes.jobs import workspace_of

router = APIRouter(prefix="/projects/{project}", tags=["models"])

ModelName = Annotated[str, Path(min_length=1, max_length=100)]
Number = Annotated[int, Path(ge=1, le=2**31)]
Text = Annotated[str, Field(max_length=10_000)]
Alias = Annotated[str, Field(min_length=1, max_length=100)]
_COLUMNS = (
    "evaluation_id",
    "model_id",
    "name",
    "version",
    "release",
    "split",
    "frames",
    "objects",
    "units",
    "ap",
    "ap50",
)


class NewEvaluation(Body):
    """A model to measure on sealed frames, and one to compare it with."""

    model: Annotated[str, Field(min_length=1, max_length=400)]
    on: Annotated[str, Field(min_length=1, max_length=400)]
    against: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0


class Promotion(Body):
    """What an alias is to refer to a version for.

    `expect`: the version that it refers to now, 0 for none. `force`: the reason for a champion without evidence, which
    admins of the server alone may give.
    """

    alias: Alias = CHAMPION
    expect: Annotated[int, Field(ge=0, le=2**31)] | None = None
    reason: Text | None = None
    force: Text | None = None


class Rollback(Body):
    """An alias that is to refer to the version before its last change."""

    alias: Alias = CHAMPION
    reason: Text | None = None


@router.get("/models", name="list_models")
def list_models(project: str, request: Request) -> Any:
    """Return the versions of all models: what they were made of, figures, evaluations, and aliases now."""
    store = _store(request, project)
    measured: dict[str, list[dict[str, Any]]] = {}
    for row in store.read(schemas.EVALUATIONS, (*_COLUMNS, "created_ns")).to_pylist():
        row["created_at"] = utc(row.pop("created_ns"))
        measured.setdefault(row["model_id"], []).append(row)
    files = {row["model_id"]: row for row in store.read(schemas.MODEL_EXPORTS).to_pylist()}
    found = []
    for row in described(store):
        onnx = files.get(row["model_id"])
        row["created_at"] = utc(row.pop("created_ns"))
        row["evaluations"] = measured.get(row["model_id"], [])
        row["onnx"] = {name: onnx[name] for name in ("file", "reason", "frames", "boxes")} if onnx else None
        found.append(row)
    return finite({"models": found})


@router.get("/models/{name}/history", name="model_history")
def model_history(project: str, name: ModelName, request: Request) -> Any:
    """Return every change of the aliases of a model, the oldest first: who, when, why, on what evidence."""
    store = _store(request, project)
    _versions(store, name)
    rows = registry.history(store, name)
    return {"history": [{**row, "at": utc(row.pop("at_ns"))} for row in rows]}


@router.get("/models/{name}/versions/{number}/evidence", name="model_evidence")
def model_evidence(project: str, name: ModelName, number: Number, request: Request) -> Any:
    """Return whether a version may become champion, clause by clause."""
    store = _store(request, project)
    found = promotion.evidence_for(store, found_version(store, name, number))
    clauses = [vars(clause) for clause in found.clauses]
    champion = registry.current(store, name, CHAMPION)
    return {"holds": found.holds, "clauses": clauses, "evaluation_id": found.evaluation_id, "champion": champion}


@router.post("/models/{name}/versions/{number}/promote", name="promote_model")
def promote_model(project: str, name: ModelName, number: Number, body: Promotion, request: Request, me: Me) -> Any:
    """Have an alias refer to a version. 409 where evidence is missing, or somebody was first."""
    if body.force is not None and not me.is_admin:
        raise ForbiddenError("force: admins of the server alone promote without evidence")
    store = _store(request, project)
    version = found_version(store, name, number)
    row = promotion.promote(
        store,
        version.reference,
        body.alias,
        by=me.name,
        reason=body.reason,
        expect=body.expect,
        force=body.force,
    )
    return {**row, "at": utc(row.pop("at_ns"))}


@router.post("/models/{name}/rollback", name="roll_back_model")
def roll_back_model(project: str, name: ModelName, body: Rollback, request: Request, me: Me) -> Any:
    """Have an alias refer to the version before its last change; that is a change, too."""
    store = _store(request, project)
    _versions(store, name)
    row = registry.roll_back(store, name, body.alias, by=me.name, reason=body.reason)
    return {**row, "at": utc(row.pop("at_ns"))}


@router.post("/evaluations", name="add_evaluation", status_code=201)
def add_evaluation(project: str, body: NewEvaluation, request: Request, me: Me) -> Any:
    """Put into the queue that a model is measured on sealed frames; the use is counted with who requested it."""
    options = EvaluateOptions(model=body.model, on=body.on, against=body.against, by=me.name)
    return {"job_id": tasks.submit(workspace_of(request, project), options, body.priority)}


@router.get("/evaluations/{evaluation_id}", name="get_evaluation")
def get_evaluation(project: str, evaluation_id: str, request: Request) -> Any:
    """Return an evaluation: figures by category, stream and hour, thresholds, confusions, and its comparisons."""
    workspace = workspace_of(request, project)
    store = Store(workspace.require().root)
    rows = [row for row in store.read(schemas.EVALUATIONS).to_pylist() if row["evaluation_id"] == evaluation_id]
    if not rows:
        raise MissingError(f"there is no evaluation {evaluation_id[:100]!r}")
    (row,) = rows
    compared = [
        {**each, "classes": json.loads(each["classes"]), "created_at": utc(each.pop("created_ns"))}
        for each in store.read(schemas.COMPARISONS).to_pylist()
        if each["evaluation_id"] == evaluation_id
    ]
    parts = ("all", "category", "stream", "hour")
    worst = worst_named(row["name"], row["version"])
    selections = store.open(schemas.SELECTIONS).lazy().filter(pl.col("selection") == worst)
    return finite(
        {
            **{name: row[name] for name in (*_COLUMNS, "min_score", "ms_per_frame")},
            "created_at": utc(row["created_ns"]),
            "report": json.loads(row["report"]),
            "uses": uses_of(store, row["content"]),
            "worst": worst if selections.select(pl.len()).collect().item() else None,
            "figures": {part: figures_by(workspace, evaluation_id, part) for part in parts},
            "comparisons": compared,
        }
    )


def _store(request: Request, project: str) -> Store:
    return Store(workspace_of(request, project).require().root)


def _versions(store: Store, name: str) -> list[dict[str, Any]]:
    try:
        return registry.versions(store, name)
    except UserError as error:
        raise MissingError(error.problems) from error


def found_version(store: Store, name: str, number: int) -> registry.ModelVersion:
    """Return a version of a model. Raises `MissingError` for one that is not there."""
    if number not in {row["version"] for row in _versions(store, name)}:
        raise MissingError(f"there is no version {number} of {name}")
    return registry.find(store, f"{name}@{number}")
