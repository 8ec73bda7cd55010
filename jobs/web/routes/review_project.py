"""What holds for the review of a project as a whole: settings, categories, figures; and edits of many frames."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from jobs.accounts.roles import includes
from jobs.editing import figures, project_changes
from jobs.editing.tracks import Keyframe
from jobs.web.plain import with_times
from jobs.web.problems import ForbiddenError
from jobs.web.review_bulk import FrameEdit, ops_on, record_all
from jobs.web.review_figures import categories_against_people
from jobs.web.review_queue import Order
from jobs.web.review_tracks import record_track
from jobs.web.routes.bodies import Body
from jobs.web.routes.review import By, InReview
from jobs.web.routes.review_bodies import NewBulk, NewTrack

router = APIRouter(prefix="/projects/{project}/review", tags=["review"])

_NS_PER_DAY = 86_400_000_000_000
_Name = Annotated[str, Field(min_length=1, max_length=1000)]


class SettingsChange(Body):
    """Settings of a project that change; those that are not named stay."""

    lease_minutes: Annotated[float, Field(gt=0, le=1440, allow_inf_nan=False)] | None = None
    require_second_reviewer: bool | None = None
    order: Order | None = None
    where: Annotated[str, Field(max_length=10_000)] | None = None
    guidelines: Annotated[str, Field(max_length=100_000)] | None = None


class CategoryChange(Body):
    """A change of a category: `into` for a new name or another category, `colour` and `key` for these."""

    kind: Literal["add", "colour", "key", "rename", "merge"]
    category: _Name
    into: _Name | None = None
    colour: Annotated[str, Field(max_length=20)] | None = None
    key: Annotated[str, Field(max_length=20)] | None = None


@router.get("/settings", name="review_settings")
def review_settings(review: InReview) -> Any:
    """Return the settings of the project's review."""
    return dict(review.settings().settings)


@router.patch("/settings", name="change_review_settings")
def change_review_settings(review: InReview, person: By, body: SettingsChange) -> Any:
    """Change some settings, and return all; null gives one its default again."""
    review.change_settings(body.model_dump(exclude_unset=True), person)
    return dict(review.settings().settings)


@router.get("/categories", name="review_categories")
def review_categories(review: InReview) -> Any:
    """Return the categories with their numbers, colours and keys, and what was changed of them."""
    return with_times(review.all_categories())


@router.post("/categories", name="change_category")
def change_category(review: InReview, person: By, body: CategoryChange) -> Any:
    """Add a category, rename it, merge it into another one, or set its colour or key; numbers never change."""
    value = {"add": None, "colour": body.colour, "key": body.key}.get(body.kind, body.into)
    shown = review.shown()
    known = review.categories(shown)
    project_changes.change_category(review.store(), body.kind, body.category, value, known, person.name)
    return with_times(review.all_categories())


@router.delete("/categories/{change_id}", name="undo_category_change")
def undo_category_change(review: InReview, person: By, change_id: str) -> Any:
    """Take a change of a category back, and return the categories."""
    project_changes.undo(review.store(), change_id, person.name)
    return with_times(review.all_categories())


@router.get("/figures", name="review_figures")
def review_figures(review: InReview, person: By, days: Annotated[int, Query(ge=1, le=3650)] = 7) -> Any:
    """Return figures of people, for annotators their own, and how often people overrule the models."""
    since = time.time_ns() - days * _NS_PER_DAY
    name = None if includes(person.role, "reviewer") else person.name
    with review.database.read() as connection:
        people = figures.people_of(connection, review.project, since, name)
    shown = review.shown()
    return {"people": people, "categories": categories_against_people(shown, review.settings(shown))}


@router.post("/bulk", name="add_review_bulk")
def add_review_bulk(review: InReview, person: By, body: NewBulk) -> Any:
    """Do one thing to many objects, or approve many frames; the answer says which frames took it."""
    if body.kind == "approve" and not includes(person.role, "reviewer"):
        raise ForbiddenError(f"this needs the role reviewer in the project, yours is {person.role}")
    op = None if body.op is None else body.op.model_dump(exclude_unset=True)
    edits = [
        FrameEdit((each.stream, each.idx), each.h, ops_on(op, each.objects), each.base_revision) for each in body.frames
    ]
    return record_all(review, body.event_id, body.kind, edits, person)


@router.post("/tracks", name="add_review_track")
def add_review_track(review: InReview, person: By, body: NewTrack) -> Any:
    """Store a track that is drawn at keyframes as a box on each frame between them."""
    keyframes = [Keyframe(k.idx, _four(k.bbox), k.rotation, k.visible) for k in body.keyframes]
    return record_track(
        review, body.event_id, body.stream, body.track_id, body.category, keyframes, body.objects or {}, person
    )


def _four(box: list[float]) -> tuple[float, float, float, float]:
    left, top, width, height = box
    return left, top, width, height
