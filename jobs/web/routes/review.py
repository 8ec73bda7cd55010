"""Review in the browser: frames with their objects, edits as events, leases, the queue."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from jobs.accounts.roles import includes
from jobs.editing import frame_states, leases
from jobs.editing.events import Edit
from jobs.web import review_lists
from jobs.web.frame_filters import FrameFilter
from jobs.web.identity import Accounts, Me, role_in
from jobs.web.plain import with_times
from jobs.web.problems import ForbiddenError
from jobs.web.review_queue import Order, Selected, Tab
from jobs.web.reviews import Participant, Review, Reviews, lease_of
from jobs.web.routes.bodies import Body
from jobs.web.routes.frames import Wanted
from jobs.web.routes.project_parts import Number, Stream
from jobs.web.routes.review_bodies import FramePlace, Id, NewDecision, NewEvent, Note

router = APIRouter(prefix="/projects/{project}/review", tags=["review"])

_MOST_FRAMES = 1000
_Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...], Field(max_length=100)]


def review_of(project: str, request: Request) -> Review:
    """Return the review of the project of a request."""
    return cast("Reviews", request.app.state.reviews).of(project)


def person_of(project: str, who: Me, database: Accounts) -> Participant:
    """Return who asks; a key without the scope `review` reviews nothing, even if its owner may."""
    role = role_in(database, who, project) or "viewer"
    if who.key is not None and "review" not in who.key.scopes and includes(role, "reviewer"):
        role = "annotator"
    return Participant(who.name, who.user_id, role)


InReview = Annotated[Review, Depends(review_of)]
By = Annotated[Participant, Depends(person_of)]


class NewLeases(Body):
    """How many frames somebody wants next, of which kind, and which not."""

    n: Annotated[int, Field(ge=1, le=5, strict=True)] = 1
    exclude: Annotated[tuple[FramePlace, ...], Field(max_length=1000)] = ()
    tab: Literal["open", "submitted", "returned"] = "open"
    order: Order | None = None
    stream: _Names = ()
    category: _Names = ()
    reason: _Names = ()
    selection: _Names = ()
    where: Annotated[str, Field(max_length=10_000)] | None = None


class NewComment(FramePlace):
    """A comment on a frame, or on an object of it."""

    text: Note
    object_id: Id | None = None


@router.get("/frame", name="review_frame")
def review_frame(review: InReview, person: By, stream: Stream, idx: Number) -> Any:
    """Return a frame with its objects, what was deleted, what models suggest, its state, and what one may do."""
    return review.frame((stream, idx), person)


@router.post("/events", name="add_review_event")
def add_review_event(review: InReview, person: By, body: NewEvent) -> Any:
    """Store an edit, or a submission, when it is on disk; the same `event_id` has the same answer.

    409 with `conflicts` where others changed the same objects since `base_revision`, 410 where the frame shows another
    image now, 422 for what cannot be on it; nothing of the edit is stored then.
    """
    return _recorded(review, person, body)


@router.post("/decisions", name="add_review_decision")
def add_review_decision(review: InReview, person: By, body: NewDecision) -> Any:
    """Approve a frame, return it, or open an approved one once more. Answers as for edits."""
    return _recorded(review, person, body)


def _recorded(review: Review, person: Participant, body: NewEvent | NewDecision) -> Any:
    edit = Edit(body.event_id, body.kind, body.operations, body.base_revision, body.note, body.ms)
    return with_times(review.record((body.stream, body.idx), body.h, edit, person))


@router.get("/queue", name="review_queue")
def review_queue(
    review: InReview,
    person: By,
    wanted: Wanted,
    tab: Tab = "open",
    order: Order | None = None,
    snapshot: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_FRAMES)] = 100,
) -> Any:
    """Return frames of the queue in its order; `snapshot` of the answer gives the same list to later requests."""
    return review_lists.page(
        review, wanted, Selected(tab, order or _order(review), None), snapshot, start, limit, person
    )


def _order(review: Review) -> Order:
    return cast("Order", review.settings().settings["order"])


@router.post("/leases", name="add_leases")
def add_leases(review: InReview, person: By, body: NewLeases) -> Any:
    """FrameLease the next frames of the queue, which nobody else is sent to meanwhile."""
    if body.tab == "submitted" and not includes(person.role, "reviewer"):
        raise ForbiddenError(f"this needs the role reviewer in the project, yours is {person.role}")
    wanted = FrameFilter(
        where=body.where if body.where and body.where.strip() else None,
        stream=tuple(sorted(set(body.stream))),
        category=tuple(sorted(set(body.category))),
        reason=tuple(sorted(set(body.reason))),
        selection=tuple(sorted(set(body.selection))),
    )
    left_out = [(each.stream, each.idx) for each in body.exclude]
    selected = Selected(body.tab, body.order or _order(review), None)
    return review_lists.lease(review, wanted, selected, body.n, left_out, person)


@router.post("/leases/{lease_id}/ping", name="lengthen_lease")
def lengthen_lease(review: InReview, person: By, lease_id: str) -> Any:
    """Lengthen a lease of one's own. 404 where it has ended: others may have the frame."""
    length = leases.lease_ns(review.settings().settings["lease_minutes"])
    lease = review.database.write(lambda c: leases.lengthen(c, review.project, lease_id, person.user_id, length))
    return lease_of(lease, person)


@router.delete("/leases/{lease_id}", name="end_lease", status_code=204)
def end_lease(review: InReview, person: By, lease_id: str, skip: bool = False) -> None:
    """Give a lease back; with `skip`, the frame comes last to this person."""
    review.database.write(lambda c: leases.release(c, review.project, lease_id, person.user_id, skip))


@router.get("/history", name="review_history")
def review_history(
    review: InReview,
    stream: Stream,
    idx: Number,
    object_id: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
) -> Any:
    """Return who did what on a frame when, or on one object of it."""
    with review.database.read() as connection:
        found = frame_states.history(connection, review.project, (stream, idx), object_id)
    return {"events": with_times(found)}


@router.get("/comments", name="list_comments")
def list_comments(review: InReview, stream: Stream, idx: Number) -> Any:
    """Return the comments on a frame."""
    return _comments(review, (stream, idx))


@router.post("/comments", name="add_comment")
def add_comment(review: InReview, person: By, body: NewComment) -> Any:
    """Add a comment and return all of the frame."""
    place = (body.stream, body.idx)
    review.require_frame(place)
    review.database.write(
        lambda c: frame_states.add_comment(c, review.project, place, person.name, body.text, body.object_id)
    )
    return _comments(review, place)


def _comments(review: Review, place: tuple[str, int]) -> dict[str, Any]:
    with review.database.read() as connection:
        return {"comments": with_times(frame_states.comments_of(connection, review.project, place))}
