"""Named intermediates of a stage on one frame."""

from __future__ import annotations

import base64
from threading import BoundedSemaphore
from typing import Annotated, Any, cast

from fastapi import APIRouter, HTTPException, Query, Request

from jobs.analysis.frame_debug import as_png, probe_frame
from jobs.web.problems import MissingError
from jobs.web.routes.jobs import Setting, workspace_of
from jobs.web.routes.project_parts import Data, Number, Stream

router = APIRouter(tags=["frames"])

_MOST_SETTINGS = 20
_AT_ONCE = BoundedSemaphore(2)
"""Each decodes a frame in full size, and runs kernels on it."""


@router.get("/projects/{project}/frame/debug", name="debug_frame")
def debug_frame(
    project: str,
    request: Request,
    data: Data,
    stream: Stream,
    idx: Number,
    stage: Annotated[str, Query(min_length=1, max_length=40)],
    settings: Annotated[list[Setting], Query(alias="set", max_length=_MOST_SETTINGS)] = [],  # noqa: B006 - not changed
) -> Any:
    """Return what a stage sees on a frame on its way to its row: images by name as PNG in base64, and values.

    `set` are settings of the stage's own section, as `field.hue_low=38`. Nothing is stored. 503 where many are
    requested at once.
    """
    shown = data.shown()
    keys = shown.frames.keys
    if keys.find(stream, idx) is None:
        raise MissingError(f"there is no frame {idx} of stream {stream[:100]}")
    if not _AT_ONCE.acquire(timeout=5.0):
        raise HTTPException(503, "many frames are looked into at once; ask for it again")
    try:
        probed = probe_frame(
            workspace_of(request, project),
            cast("Any", shown.view),
            stream,
            idx,
            stage,
            settings,
            lambda other, number: keys.find(other, number) is not None,
        )
    finally:
        _AT_ONCE.release()
    images = [
        {"name": name, "shape": list(image.shape), "png": base64.b64encode(as_png(image)).decode()}
        for name, image in probed.images.items()
    ]
    return {"stage": stage, "images": images, "values": probed.values}
