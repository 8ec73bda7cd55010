"""Images of the frames that a job has just found objects on."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from jobs.web.media import Media, Width
from jobs.web.overviews import jobs_of_project
from jobs.web.problems import MissingError
from jobs.web.routes.jobs import require_job, workspace_of
from jobs.web.routes.media import image_of
from jobs.web.routes.project_parts import Number, Stream
from jobs.web.seen_frames import SeenFrame, SeenFrames

router = APIRouter(tags=["jobs"])

_FOREVER = "private, max-age=86400, immutable"


@router.get(
    "/projects/{project}/jobs/{job_id}/seen",
    name="seen_image",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}, "image/gif": {}}}},
)
async def seen_image(project: str, job_id: str, request: Request, stream: Stream, idx: Number, w: Width = "640") -> Any:
    """Return the image of one of the frames that a job lists as `seen`. 404 for any other frame."""
    found = await run_in_threadpool(_found, request, project, job_id, stream, idx)
    encoded = await image_of(request, cast("Media", request.app.state.media), found.wanted, w)
    return Response(encoded.data, media_type=encoded.kind, headers={"cache-control": _FOREVER})


def _found(request: Request, project: str, job_id: str, stream: str, idx: int) -> SeenFrame:
    workspace = workspace_of(request, project)
    require_job(workspace, job_id)
    with jobs_of_project(request, project, workspace) as known:
        names = {(each["stream_id"], each["frame_idx"]) for each in known.overview.progress(job_id).seen}
    frames = cast("SeenFrames", request.app.state.seen)
    found = frames.find(workspace, job_id, stream, idx) if (stream, idx) in names else None
    if found is None:
        raise MissingError(f"job {job_id} shows no frame {idx} of stream {stream[:100]}")
    return found
