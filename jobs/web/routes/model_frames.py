"""What models find: two of them on the same frames, those first on which they differ, and one on an image that is sent.

Images that are sent are not stored.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query, Request

from jobs.core.errors import UserError
from jobs.dispatch.trial_worker import TrialWorker
from jobs.evaluation.disagreements import frames_of
from jobs.models import registry
from jobs.storage.store import Store
from jobs.web.problems import MissingError
from jobs.web.routes.jobs import workspace_of
from jobs.web.routes.models import ModelName, Number, found_version
from jobs.web.routes.project_parts import Data
from jobs.web.trainings import frame_of

router = APIRouter(prefix="/projects/{project}", tags=["models"])

EvaluationId = Annotated[str, Path(min_length=1, max_length=100)]
_HASH_DIGITS = 16


@router.get("/evaluations/{evaluation_id}/frames", name="evaluation_frames")
def list_frames(
    data: Data,
    evaluation_id: EvaluationId,
    against: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 12,
) -> Any:
    """Return frames of an evaluation with objects and what was found, those with most errors first.

    With `against`, an evaluation of the same frames, those first on which the two differ most; boxes of one without a
    partner in the other are `alone`. `is_current`: the frame still has the image that was measured.
    """
    shown = data.shown()
    key = ("evaluation frames", evaluation_id, against)
    try:
        frames = shown.result(key, lambda: frames_of(shown.store, evaluation_id, against))
    except UserError as error:
        if any(line.startswith("there is no evaluation") for line in error.problems):
            raise MissingError(error.problems) from error
        raise
    page = []
    for each in frames[start : start + limit]:
        now = frame_of(shown, each["stream_id"], each["frame_idx"])
        measured = each["content_hash"][:_HASH_DIGITS]
        values = {name: value for name, value in each.items() if name != "content_hash"}
        page.append({**values, **now, "is_current": now["h"] == measured})
    return {
        "total": len(frames),
        "differ": sum(bool(each.get("disagreements")) for each in frames),
        "start": start,
        "frames": page,
    }


@router.post("/models/{name}/versions/{number}/try", name="try_model")
async def try_model(project: str, name: ModelName, number: Number, request: Request) -> Any:
    """Return what a version finds on the image that is the body, a JPEG or PNG, as `winnow` reads frames.

    A process next to the server does it, and ends when nobody asks. 422 for an image that does not decode, 409 where a
    job has the GPU.
    """
    image = await request.body()
    worker = cast("TrialWorker", request.app.state.trials)

    def found() -> Any:
        workspace = workspace_of(request, project)
        version = found_version(Store(workspace.require().root), name, number)
        if problem := registry.weights_problem(version, verify=False):
            raise UserError(problem)
        return worker.find(workspace, version.reference, image)

    return await asyncio.to_thread(found)
