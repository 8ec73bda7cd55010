"""Rows of frames, their objects and events in the app database, within the transaction of a caller."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from blake3 import blake3
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from jobs.editing.objects import Body, public
from jobs.editing.operations import Applied, EditedObject
from jobs.editing.tables import EVENTS, FRAMES, OBJECTS, PROGRESS

State = Literal["open", "submitted", "returned", "approved"]

_DIGITS = 32
_MOST_NAMED = 500


@dataclass(frozen=True)
class Image:
    """A frame of a project and the image that it shows."""

    project: str
    stream_id: str
    frame_idx: int
    content_hash: str
    width: int
    height: int


@dataclass(frozen=True)
class Seed:
    """What is on a frame before anybody edits it here: objects by id, those that were deleted, and its state."""

    objects: Mapping[str, Body] = field(default_factory=dict)
    deleted: Mapping[str, Body] = field(default_factory=dict)
    state: State = "open"
    reviewer: str | None = None
    tags: tuple[str, ...] = ()


def find_frame(connection: Connection, image: Image) -> Row[Any] | None:
    """Return the row of a frame; None where nobody has edited it."""
    return connection.execute(select(FRAMES).where(*is_frame(image))).first()


def is_frame(image: Image) -> tuple[Any, ...]:
    """Return the condition that a row of `review_frames` is of an image."""
    return (
        FRAMES.c.project == image.project,
        FRAMES.c.stream_id == image.stream_id,
        FRAMES.c.frame_idx == image.frame_idx,
        FRAMES.c.content_hash == image.content_hash,
    )


def objects_of(connection: Connection, frame_id: int, names: Collection[str] | None = None) -> dict[str, EditedObject]:
    """Return the objects of a frame by id, deleted ones too; those of some names, or all."""
    query = select(OBJECTS).where(OBJECTS.c.frame_id == frame_id)
    if names is not None and len(names) <= _MOST_NAMED:
        query = query.where(OBJECTS.c.object_id.in_(sorted(names)))
    return {
        row.object_id: EditedObject(json.loads(row.body), row.revision, row.is_deleted, row.changed_by, row.changed_ns)
        for row in connection.execute(query)
    }


def begin_frame(connection: Connection, image: Image, seed: Seed) -> Row[Any]:
    """Store a frame as it is before the first edit, with an event that has all of it, and return its row."""
    now = time.time_ns()
    seq = next_seq(connection, image.project)
    values = {
        "project": image.project,
        "stream_id": image.stream_id,
        "frame_idx": image.frame_idx,
        "content_hash": image.content_hash,
        "width": image.width,
        "height": image.height,
        "state": seed.state,
        "revision": 0,
        "n_objects": len(seed.objects),
        "approved_by": seed.reviewer if seed.state == "approved" else None,
        "tags": json.dumps(list(seed.tags), ensure_ascii=False),
        "last_seq": seq,
        "updated_ns": now,
    }
    frame_id = connection.execute(insert(FRAMES).values(values).returning(FRAMES.c.frame_id)).scalar_one()
    rows, log = [], []
    for is_deleted, bodies in ((False, seed.objects), (True, seed.deleted)):
        for name, body in bodies.items():
            rows.append(object_row(frame_id, name, EditedObject(body, is_deleted=is_deleted)))
            log.append({"op": "seed", "object_id": name, "changed": body, "is_deleted": is_deleted})
    if rows:
        connection.execute(insert(OBJECTS), rows)
    event_id = f"seed-{blake3(repr(image).encode()).hexdigest()[:_DIGITS]}"
    if seed.tags:
        log.append({"op": "tags", "tags": list(seed.tags)})
    add_event(connection, image.project, seq, frame_id, event_id, 0, "seed", log, seed.state, seed.reviewer or "", now)
    found = connection.execute(select(FRAMES).where(FRAMES.c.frame_id == frame_id)).first()
    assert found is not None
    return found


def object_row(frame_id: int, name: str, known: EditedObject) -> dict[str, Any]:
    """Return an object as a row of `review_objects`."""
    return {
        "frame_id": frame_id,
        "object_id": name,
        "body": json.dumps(known.body, ensure_ascii=False),
        "revision": known.revision,
        "is_deleted": known.is_deleted,
        "changed_by": known.changed_by,
        "changed_ns": known.changed_ns,
    }


def add_event(
    connection: Connection,
    project: str,
    seq: int,
    frame_id: int,
    event_id: str,
    revision: int,
    kind: str,
    log: Sequence[Mapping[str, Any]],
    state: str,
    user: str,
    at_ns: int,
    digest: str = "",
    note: str | None = None,
    active_ms: int | None = None,
    approved: str | None = None,
) -> None:
    """Store an event under the next number of its project, as columns of `review_events`."""
    values = {
        "project": project,
        "seq": seq,
        "event_id": event_id,
        "frame_id": frame_id,
        "revision": revision,
        "kind": kind,
        "ops": json.dumps(list(log), ensure_ascii=False),
        "digest": digest,
        "state": state,
        "user_name": user,
        "note": note,
        "at_ns": at_ns,
        "active_ms": active_ms,
        "approved": approved,
    }
    connection.execute(insert(EVENTS).values(values))


def next_seq(connection: Connection, project: str) -> int:
    """Return the next number of an event of a project; there is one writer at a time."""
    mine = PROGRESS.c.project == project
    raised = update(PROGRESS).where(mine).values(last_seq=PROGRESS.c.last_seq + 1).returning(PROGRESS.c.last_seq)
    found = connection.execute(raised).scalar()
    if found is None:
        connection.execute(insert(PROGRESS).values(project=project, last_seq=1, published_seq=0))
        return 1
    return int(found)


def changes_since(
    connection: Connection, frame: Row[Any], base: int, but: Collection[str] = (), until: int | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the objects that were changed after a revision, and the ids of those deleted, without some."""
    last = frame.revision if until is None else until
    if last == base:
        return [], []
    of_frame = OBJECTS.c.frame_id == frame.frame_id
    query = select(OBJECTS).where(of_frame, OBJECTS.c.revision > base, OBJECTS.c.revision <= last)
    changed, gone = [], []
    for row in connection.execute(query.order_by(OBJECTS.c.object_id)):
        if row.object_id in but:
            continue
        if row.is_deleted:
            gone.append(row.object_id)
        else:
            changed.append(public(row.object_id, json.loads(row.body), row.revision, (frame.width, frame.height)))
    return changed, gone


def store_objects(
    connection: Connection, frame: Row[Any], applied: Applied, revision: int, author: str, now: int
) -> int:
    """Store changed objects and return how many more, or less, there are on the frame."""
    if not applied.changed:
        return 0
    rows = [
        object_row(frame.frame_id, name, replace(known, revision=revision, changed_by=author, changed_ns=now))
        for name, known in applied.changed.items()
    ]
    before = connection.execute(
        select(OBJECTS.c.object_id, OBJECTS.c.is_deleted).where(OBJECTS.c.frame_id == frame.frame_id)
        if len(rows) > _MOST_NAMED
        else select(OBJECTS.c.object_id, OBJECTS.c.is_deleted).where(
            OBJECTS.c.frame_id == frame.frame_id, OBJECTS.c.object_id.in_([row["object_id"] for row in rows])
        )
    )
    was_there = {row.object_id: not row.is_deleted for row in before}
    if fresh := [row for row in rows if row["object_id"] not in was_there]:
        connection.execute(insert(OBJECTS), fresh)
    if others := [row for row in rows if row["object_id"] in was_there]:
        one = (OBJECTS.c.frame_id == bindparam("of_frame")) & (OBJECTS.c.object_id == bindparam("of_object"))
        columns = ("body", "revision", "is_deleted", "changed_by", "changed_ns")
        changes = update(OBJECTS).where(one).values({name: bindparam(name) for name in columns})
        connection.execute(
            changes,
            [
                {"of_frame": row["frame_id"], "of_object": row["object_id"], **{name: row[name] for name in columns}}
                for row in others
            ],
        )
    return sum(not row["is_deleted"] for row in rows) - sum(was_there.get(row["object_id"], False) for row in rows)
