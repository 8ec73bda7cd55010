"""Trainings: what can be trained, what speaks against it, what it takes, and how it goes, epoch by epoch."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

import schemas
from jobs.core.errors import UserError
from jobs.core.plain_values import finite
from jobs.dispatch import tasks
from jobs.dispatch.task_commands import command_of
from jobs.dispatch.trial_worker import TrialWorker
from jobs.models import registry
from jobs.storage.store import Store
from jobs.training.option_texts import TEXTS
from jobs.training.options import TrainOptions
from jobs.web import option_forms, trainings
from jobs.web.identity import Me
from jobs.web.overviews import jobs_of_project
from jobs.web.problems import MissingError
from jobs.web.routes.bodies import Body
from jobs.web.routes.jobs import require_job, workspace_of
from jobs.web.routes.project_parts import Data

router = APIRouter(prefix="/projects/{project}", tags=["models"])

_MOST_RELEASES = 1000

JobId = Annotated[str, Path(min_length=1, max_length=200)]
Epoch = Annotated[int, Path(ge=1, le=10_000)]


class NewTraining(Body):
    """A training that a job is to do, as `winnow train` does it."""

    options: TrainOptions
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0


@router.get("/trainings/form", name="training_form")
def show_form(project: str, request: Request) -> Any:
    """Return what a training can be given: each option with its type and bounds, releases, models, names in use.

    `problems` says why nothing can be trained on this machine, with the command that helps. A model that is missing has
    a `problem` with the command that gets it.
    """
    from jobs.training.bases import bases, problems

    store = Store(workspace_of(request, project).require().root)
    releases = store.read(schemas.RELEASES, ("name", "created_ns")).to_pylist()
    releases.sort(key=lambda row: -row["created_ns"])
    return {
        "options": option_forms.form(TrainOptions, TEXTS),
        "releases": [row["name"] for row in releases[:_MOST_RELEASES]],
        "models": bases(),
        "names": sorted({row["name"] for row in registry.versions(store)}),
        "problems": problems(),
    }


@router.get("/trainings", name="list_trainings")
def list_trainings(project: str, request: Request) -> Any:
    """Return the newest trainings as jobs, with their options, epochs that are done, and the best one."""
    workspace = workspace_of(request, project)
    with jobs_of_project(request, project, workspace) as known:
        return {"trainings": finite(trainings.listed(known, Store(workspace.require().root)))}


@router.post("/trainings", name="add_training", status_code=201)
def add_training(project: str, body: NewTraining, request: Request) -> Any:
    """Put into the queue that a model is trained on a release.

    400 with the command that helps where packages, weights or the release are missing.
    """
    from jobs.training.networks import base_of

    refuse_places(body.options)
    body.options.check()
    base_of(body.options.model)
    return {"job_id": tasks.submit(workspace_of(request, project), body.options, body.priority)}


@router.post("/trainings/preflight", name="preflight_training")
def preflight_training(project: str, body: NewTraining, who: Me, request: Request) -> Any:
    """Return what a training would learn from, what speaks against it, and its command; nothing is recorded."""
    from jobs.storage.spare_files import temporary_folder
    from jobs.training.networks import base_of
    from jobs.training.preflight import preflight
    from jobs.training.training_data import tried

    refuse_places(body.options)
    body.options.check()
    base = base_of(body.options.model)
    workspace = workspace_of(request, project)
    with temporary_folder() as folder:
        found = preflight(tried(workspace, body.options, folder), body.options, base.kind)
    # Where a workspace is says more of the machine than members of a project need.
    where = str(workspace.root) if who.is_admin else project
    return finite({**found, "command": command_of(body.options, where), "licence": base.licence})


@router.post("/trainings/estimate", name="estimate_training")
def estimate_training(project: str, body: NewTraining, request: Request) -> Any:
    """Return the minutes and the memory that a training takes here, from three steps of it in a process of its own.

    409 where a job has the GPU. `estimate` is null where there is nothing to learn from.
    """
    from jobs.training.networks import base_of

    refuse_places(body.options)
    body.options.check()
    base_of(body.options.model)
    worker = cast("TrialWorker", request.app.state.trials)
    return finite({"estimate": worker.estimate(workspace_of(request, project), body.options)})


@router.get("/trainings/{job_id}", name="get_training")
def get_training(
    project: str,
    job_id: JobId,
    request: Request,
    after: Annotated[int, Query(ge=0, le=10_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> Any:
    """Return a training as a job, with its options, and its figures after an epoch: of all categories and of each.

    `last` is the newest epoch that has figures: what follows is there with `after` of the last one returned.
    """
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    with jobs_of_project(request, project, workspace) as known:
        job = known.find(job_id)
        if job is None or job.kind != "train":
            raise MissingError(f"there is no training {job_id[:100]!r}")
        row = {**known.summary(job), "options": trainings.options_of(known, job)}
    return finite({**row, **trainings.epochs_of(Store(workspace.root), job_id, after, limit)})


@router.get("/trainings/{job_id}/samples/{epoch}", name="training_samples")
def show_samples(project: str, job_id: JobId, epoch: Epoch, data: Data, request: Request) -> Any:
    """Return what the network found on a few images of val after an epoch; the same images after each."""
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    return finite({"samples": trainings.samples_of(Store(workspace.root), data.shown(), job_id, epoch)})


def refuse_places(options: TrainOptions) -> None:
    """Refuse what names a folder of the server: what may be trained from is in the catalogue, or with the weights."""
    if any(sign in options.model for sign in ("/", "\\", "~")) or options.model.startswith("."):
        raise UserError(
            f"model {options.model!r}: expected torchvision:NAME, or a name that `winnow models list` shows"
        )
