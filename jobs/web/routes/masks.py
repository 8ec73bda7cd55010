"""Masks for points and boxes on a frame, by a process of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

import schemas
from jobs.core.errors import UserError
from jobs.dispatch import tasks
from jobs.dispatch.mask_worker import MaskFrame, MaskRequest, MaskWorker
from jobs.dispatch.task_options import FollowedObject, FollowOptions
from jobs.models.transformers import in_folder
from jobs.web.problems import StateConflictError, UndecodableError
from jobs.web.reviews import check_image
from jobs.web.routes.bodies import Body
from jobs.web.routes.review import By, InReview
from jobs.web.routes.review_bodies import FramePlace, Hash, Id
from jobs.web.settings import Settings
from transforms.models.propagate import KINDS

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


class NewFollow(FramePlace):
    """Which objects of a frame are to be followed, over how many frames."""

    h: Hash
    objects: Annotated[tuple[Id, ...], Field(min_length=1, max_length=200)]
    frames: Annotated[int, Field(ge=1, le=1024, strict=True)] = 32


@router.post("/follow", name="follow_objects", status_code=201)
def follow_objects(request: Request, review: InReview, person: By, body: NewFollow) -> Any:
    """Add a job that follows objects over the next frames of their stream; what it finds is suggested there.

    400 with the command that gets the weights where they are missing, 409 for objects that are not on the frame.
    """
    check_image(review.shown(), (body.stream, body.idx), body.h)
    there = {each["object_id"]: each for each in review.frame((body.stream, body.idx), person)["objects"]}
    if unknown := [name for name in body.objects if name not in there]:
        raise StateConflictError(f"object {unknown[0]} is not on frame {body.stream} {body.idx}")
    settings: Settings = request.app.state.settings
    in_folder("--mask-weights", settings.mask_weights, KINDS)
    objects = tuple(
        FollowedObject(object_id=name, category=there[name]["category"], bbox=tuple(there[name]["bbox"]))
        for name in dict.fromkeys(body.objects)
    )
    options = FollowOptions(
        stream=body.stream,
        idx=body.idx,
        h=body.h,
        objects=objects,
        frames=body.frames,
        weights=settings.mask_weights,
    )
    return {"job_id": tasks.submit(review.shown().workspace, options)}


@router.post("/masks/start", name="start_masks")
def start_masks(request: Request, review: InReview) -> Any:  # noqa: ARG001 - the project is one that there is
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
