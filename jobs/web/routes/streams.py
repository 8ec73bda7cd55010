"""Streams of a project, and the timeline of each."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from jobs.web.problems import MissingError
from jobs.web.routes.project_parts import Data, Stream
from jobs.web.summaries import stream_row, streams
from jobs.web.timelines import By, timeline

router = APIRouter(tags=["frames"])

_MOST_BINS = 4000


@router.get("/projects/{project}/streams", name="list_streams")
def list_streams(data: Data) -> Any:
    """Return all streams with their counts, gaps, and what is unusual about them."""
    return {"streams": streams(data.shown())}


@router.get("/projects/{project}/timeline", name="timeline")
def show_timeline(
    data: Data,
    stream: Stream,
    bins: Annotated[int, Query(ge=1, le=_MOST_BINS)] = 600,
    by: By = "number",
) -> Any:
    """Return a stream in bins of equal width, by frame number or by time; fewer bins where it has fewer numbers."""
    shown = data.shown()
    row = stream_row(shown, stream)
    if row is None:
        raise MissingError(f"there is no stream {stream[:100]!r}")
    return shown.result(("timeline", stream, bins, by), lambda: timeline(shown, row, by, bins))
