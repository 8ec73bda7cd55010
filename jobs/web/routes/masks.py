"""Masks for points and boxes on a frame, by a process of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

import schemas
from jobs.core.errors import UserError
from jobs.dispatch.mask_worker import MaskFrame, MaskRequest, MaskWorker
from jobs.web.problems import UndecodableError
from jobs.web.reviews import check_image
from jobs.web.routes.bodies import Body
from jobs.web.routes.review import InReview
from jobs.web.routes.review_bodies import FramePlace, Hash

router = APIRouter(prefix="/projects/{project}/review", tags=["review"])

_MOST_POINTS = 100
_Pixel = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class PromptPoint(Body):
    """A pixel of the upright frame, on the object (1) or not (0)."""

    x: _Pixel
    y: _Pixel
    label: Literal[0, 1] = 1


class NewMask(FramePlace):
    """What a mask is wanted of; without points and box, the image is only read by the model."""

    h: Hash
    points: Annotated[tuple[PromptPoint, ...], Field(max_length=_MOST_POINTS)] = ()
    box: Annotated[list[_Pixel], Field(min_length=4, max_length=4)] | None = None

    @model_validator(mode="after")
    def _says_where(self) -> NewMask:
        if self.points and self.box is None and not any(point.label for point in self.points):
            raise ValueError("expected a point on the object or a box, found points that are not on it alone")
        return self


@router.post("/masks/start", name="start_masks")
def start_masks(request: Request) -> Any:
    """Load the model that makes masks, and return its name and the device that it runs on.

    400 with the command that gets its weights where they are missing; 409 where a job has the GPU.
    """
    return _worker(request).ask(MaskRequest())


@router.post("/masks", name="add_mask")
def add_mask(request: Request, review: InReview, body: NewMask) -> Any:
    """Return the mask of what points and a box are on, as run lengths over the frame; `rle` is null for none.

    The first request of a frame takes longer, since the model reads the image. Nothing is stored. Answers 410 as edits
    do, and 400 and 409 as the start does.
    """
    shown = review.shown()
    row = check_image(shown, (body.stream, body.idx), body.h)
    columns = ("uri", "content_hash", "status", "white_level", "width", "height")
    found = shown.frames.stored_rows(schemas.FRAMES, row, columns=columns).to_pylist()[0]
    if found["status"] != "ok":
        raise UndecodableError(f"frame {body.stream} {body.idx} has no image")
    if outside := [p for p in body.points if p.x > found["width"] or p.y > found["height"]]:
        at = outside[0]
        raise UserError(f"points: expected pixels within {found['width']}x{found['height']}, found {at.x:g}, {at.y:g}")
    frame = MaskFrame(found["uri"], found["content_hash"], found["white_level"])
    points = tuple((point.x, point.y) for point in body.points)
    labels = tuple(point.label for point in body.points)
    box = None if body.box is None else (body.box[0], body.box[1], body.box[2], body.box[3])
    return _worker(request).ask(MaskRequest(frame, points, labels, box))


def _worker(request: Request) -> MaskWorker:
    return cast("MaskWorker", request.app.state.masks)
