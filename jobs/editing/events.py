"""Edits of frames as events in the app database: applied once, numbered without a gap, each in one transaction.

What is here are functions of a connection, for `Database.write`: an event that such a function returned is stored with
all that it changed, or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from blake3 import blake3
from sqlalchemy import Connection, Row, select, update

from jobs.editing.errors import EditConflictError, InvalidEditError, NotAllowedError
from jobs.editing.event_rows import (
    Image,
    Seed,
    State,
    add_event,
    begin_frame,
    changes_since,
    find_frame,
    next_seq,
    objects_of,
    store_objects,
)
from jobs.editing.objects import Body, public
from jobs.editing.operations import Applied, EditedObject, Frame, Op, apply, touched
from jobs.editing.tables import EVENTS, FRAMES, LEASES

Kind = Literal["edit", "submit", "approve", "return", "reopen"]
_DIGITS = 32


@dataclass(frozen=True)
class Author:
    """Who edits, and what they may in the project."""

    name: str
    user_id: str
    may_review: bool
    """Whether a submission is an approval, where no second reviewer is required."""


@dataclass(frozen=True)
class Edit:
    """An edit as it was requested. `base_revision` None: it is about what is there now."""

    event_id: str
    kind: Kind
    ops: tuple[Op, ...] = ()
    base_revision: int | None = None
    note: str | None = None
    active_ms: int | None = None


@dataclass(frozen=True)
class Context:
    """What an edit is checked against, read before the transaction."""

    image: Image
    seed: Seed
    categories: Collection[str]
    suggestions: Mapping[str, Body]
    needs_second: bool
    lease_ns: int


def record(connection: Connection, edit: Edit, author: Author, context: Context) -> dict[str, Any]:
    """Store an edit and return the answer of the API; the same answer for an edit that is stored already.

    Raises `EditConflictError` where others changed the same since `base_revision`, or the frame is approved, and
    `InvalidEditError` for what cannot be on the frame; then nothing is stored.
    """
    image = context.image
    digest = digest_of(edit, image)
    known = connection.execute(
        select(EVENTS).where(EVENTS.c.project == image.project, EVENTS.c.event_id == edit.event_id)
    ).first()
    if known is not None:
        return _repeated(connection, known, digest, edit, image)
    frame = find_frame(connection, image) or begin_frame(connection, image, context.seed)
    base = frame.revision if edit.base_revision is None else edit.base_revision
    if base > frame.revision:
        raise InvalidEditError(f"base_revision: expected at most {frame.revision}, that of the frame, found {base}")
    _check_state(connection, edit, author, context, frame, base)
    applied = _applied(connection, edit, author, context, frame, base)
    return _stored(connection, edit, author, context, frame, base, applied, digest)


def digest_of(edit: Edit, image: Image) -> str:
    """Return a hash of what an edit says, but not of the revision it says it about."""
    text = json.dumps(
        [edit.kind, image.stream_id, image.frame_idx, image.content_hash, edit.note, list(edit.ops)], sort_keys=True
    )
    return blake3(text.encode()).hexdigest()[:_DIGITS]


MUST_BE: Mapping[Kind, tuple[State, ...]] = {
    "edit": ("open", "returned", "submitted"),
    "submit": ("open", "returned", "submitted"),
    "approve": ("open", "returned", "submitted"),
    "return": ("submitted", "approved"),
    "reopen": ("approved", "submitted"),
}
"""The states in which a frame may be for each kind of edit."""


def _check_state(
    connection: Connection, edit: Edit, author: Author, context: Context, frame: Row[Any], base: int
) -> None:
    """Raise where the state of a frame, or who brought it there, does not allow an edit."""
    if frame.state not in MUST_BE[edit.kind]:
        line = f"the frame is {frame.state}"
        if frame.state == "approved":
            line += f" by {frame.approved_by}: a reviewer reopens it first" if frame.approved_by else ""
        raise EditConflictError(line, _about(connection, frame, base, []))
    if edit.kind in {"submit", "approve"} and base != frame.revision:
        lines = f"the frame changed since revision {base}: see what is there now before you {edit.kind} it"
        raise EditConflictError(lines, _about(connection, frame, base, []))
    if edit.kind == "approve" and context.needs_second and frame.submitted_by in {None, author.name}:
        who = "nobody has submitted it yet" if frame.submitted_by is None else "you submitted it"
        raise NotAllowedError(f"this project wants a second reviewer: {who}")


def _applied(
    connection: Connection, edit: Edit, author: Author, context: Context, frame: Row[Any], base: int
) -> Applied:
    names = touched(edit.ops)
    objects = objects_of(connection, frame.frame_id, names)
    there = Frame(frame.width, frame.height, context.categories, objects, context.suggestions)
    applied = apply(edit.ops, there, base, author.name)
    if applied.problems:
        raise InvalidEditError(applied.problems)
    if applied.conflicts:
        others = sorted({c["theirs"].changed_by or "somebody" for c in applied.conflicts if c["theirs"]})
        n = len(applied.conflicts)
        line = f"{n} operation{'s' if n > 1 else ''} on objects that {' and '.join(others) or 'somebody'} changed"
        raise EditConflictError(line, _about(connection, frame, base, applied.conflicts))
    return applied


def _about(
    connection: Connection, frame: Row[Any], base: int, conflicts: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a client needs to see in order to resolve a conflict."""
    size = (frame.width, frame.height)
    found = []
    for each in conflicts:
        theirs: EditedObject | None = each["theirs"]
        is_there = theirs is not None and not theirs.is_deleted
        found.append(
            {
                "op": each["op"],
                "object_id": each["object_id"],
                "theirs": public(each["object_id"], theirs.body, theirs.revision, size)
                if is_there and theirs is not None
                else None,
                "by": theirs.changed_by if theirs is not None else None,
                "at_ns": theirs.changed_ns if theirs is not None else None,
            }
        )
    changed, gone = changes_since(connection, frame, base)
    return {"revision": frame.revision, "state": frame.state, "conflicts": found, "changed": changed, "gone": gone}


def _repeated(connection: Connection, event: Row[Any], digest: str, edit: Edit, image: Image) -> dict[str, Any]:
    """Return the answer to an event that is stored already."""
    if event.digest != digest:
        raise EditConflictError("event_id: it was used for another edit; make a new one", {})
    frame = find_frame(connection, image)
    changed: list[dict[str, Any]] = []
    gone: list[str] = []
    if frame is not None:
        # Nothing that came after it, so that the answer is the same.
        base = event.revision - 1 if edit.base_revision is None else edit.base_revision
        mine = {entry.get("object_id", "") for entry in json.loads(event.ops)}
        changed, gone = changes_since(connection, frame, base, mine, event.revision)
    return _answer(event.event_id, event.seq, event.revision, event.state, event.at_ns, changed, gone, repeated=True)


def _answer(
    event_id: str,
    seq: int,
    revision: int,
    state: str,
    at_ns: int,
    changed: list[dict[str, Any]],
    gone: list[str],
    repeated: bool = False,
) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "seq": seq,
        "revision": revision,
        "state": state,
        "at_ns": at_ns,
        "repeated": repeated,
        "changed": changed,
        "gone": gone,
    }


def _stored(
    connection: Connection,
    edit: Edit,
    author: Author,
    context: Context,
    frame: Row[Any],
    base: int,
    applied: Applied,
    digest: str,
) -> dict[str, Any]:
    now, revision = time.time_ns(), frame.revision + 1
    state, people = _state_after(edit, author, context, frame)
    changed, gone = changes_since(connection, frame, base, applied.changed.keys())
    seq = next_seq(connection, context.image.project)
    n_objects = frame.n_objects + store_objects(connection, frame, applied, revision, author.name, now)
    tags = frame.tags if applied.tags is None else json.dumps(applied.tags, ensure_ascii=False)
    approved = None
    if state == "approved":
        approved = _approval(connection, frame, tags, author)
    values = {
        "state": state,
        "revision": revision,
        "n_objects": n_objects,
        "tags": tags,
        "note": edit.note if edit.kind in {"return", "reopen", "submit"} else frame.note,
        "last_seq": seq,
        "updated_ns": now,
        **people,
    }
    connection.execute(update(FRAMES).where(FRAMES.c.frame_id == frame.frame_id).values(values))
    add_event(
        connection,
        context.image.project,
        seq,
        frame.frame_id,
        edit.event_id,
        revision,
        edit.kind,
        applied.log,
        state,
        author.name,
        now,
        digest,
        edit.note,
        edit.active_ms,
        approved,
    )
    _lengthen(connection, author, context, now, is_done=edit.kind != "edit")
    return _answer(edit.event_id, seq, revision, state, now, changed, gone)


def _state_after(edit: Edit, author: Author, context: Context, frame: Row[Any]) -> tuple[State, dict[str, Any]]:
    """Return the state of a frame after an edit, and who brought it there."""
    if edit.kind == "submit":
        if author.may_review and not context.needs_second:
            return "approved", {"submitted_by": author.name, "approved_by": author.name}
        return "submitted", {"submitted_by": author.name}
    if edit.kind == "approve":
        return "approved", {"approved_by": author.name}
    if edit.kind == "return":
        return "returned", {"approved_by": None}
    if edit.kind == "reopen":
        return "open", {"approved_by": None, "submitted_by": None}
    state: State = frame.state
    return state, {}


def _approval(connection: Connection, frame: Row[Any], tags: str, author: Author) -> str:
    """Return all that an approval lets stand and rejects, as JSON; publication makes rows of it."""
    objects = objects_of(connection, frame.frame_id)
    there = [[name, known.body, known.is_deleted] for name, known in sorted(objects.items())]
    return json.dumps({"objects": there, "tags": json.loads(tags), "reviewer": author.name}, ensure_ascii=False)


def _lengthen(connection: Connection, author: Author, context: Context, now: int, is_done: bool) -> None:
    """Lengthen the lease of somebody who edits a frame; once it is in another state, nobody works on it any more."""
    image = context.image
    of_frame = (
        (LEASES.c.project == image.project)
        & (LEASES.c.stream_id == image.stream_id)
        & (LEASES.c.frame_idx == image.frame_idx)
    )
    if is_done:
        connection.execute(LEASES.delete().where(of_frame))
    else:
        mine = of_frame & (LEASES.c.user_id == author.user_id)
        connection.execute(update(LEASES).where(mine).values(until_ns=now + context.lease_ns))
