"""Frames as they are in the app database now: their states, objects, history and comments."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from jobs.editing.errors import InvalidEditError
from jobs.editing.event_rows import Image, objects_of
from jobs.editing.leases import Place
from jobs.editing.operations import EditedObject
from jobs.editing.tables import COMMENTS, EVENTS, FRAMES, PROGRESS

__all__ = ["Connection", "add_comment", "changed_since", "comments_of", "find", "history", "next_track", "of_image"]

_MOST_TEXT = 10_000
_MOST_EVENTS = 1000
_FIRST_TRACK = 1_000_000_000


def changed_since(connection: Connection, project: str, seq: int) -> Sequence[Row[Any]]:
    """Return the rows of `review_frames` that changed after an event, in the order in which they did."""
    newer = (FRAMES.c.project == project) & (FRAMES.c.last_seq > seq)
    return connection.execute(select(FRAMES).where(newer).order_by(FRAMES.c.last_seq)).all()


def find(connection: Connection, project: str, place: Place, h: str) -> Row[Any] | None:
    """Return the row of a frame and an image, of which the first digits of its hash are given; None where none is."""
    mine = (FRAMES.c.project == project) & (FRAMES.c.stream_id == place[0]) & (FRAMES.c.frame_idx == place[1])
    rows = connection.execute(select(FRAMES).where(mine)).all()
    return next((row for row in rows if row.content_hash.startswith(h)), None)


def image_of(row: Row[Any]) -> Image:
    """Return the image that a row of `review_frames` is of."""
    return Image(row.project, row.stream_id, row.frame_idx, row.content_hash, row.width, row.height)


def of_image(
    connection: Connection, project: str, place: Place, h: str
) -> tuple[Row[Any] | None, dict[str, EditedObject]]:
    """Return the row of a frame and its objects by id, deleted ones too; None where nobody has edited it."""
    row = find(connection, project, place, h)
    return row, {} if row is None else objects_of(connection, row.frame_id)


def next_track(connection: Connection, project: str, event_id: str) -> int:
    """Return a number for a new track, which no other one has; the same for an event that is stored already.

    Numbers of people begin where those of trackers, which count from 0 in each stream, do not get to.
    """
    first = select(EVENTS.c.seq).where(EVENTS.c.project == project, EVENTS.c.event_id.startswith(f"{event_id}-"))
    seq = connection.execute(first.order_by(EVENTS.c.seq).limit(1)).scalar()
    if seq is not None:
        row = connection.execute(select(EVENTS.c.ops).where(EVENTS.c.project == project, EVENTS.c.seq == seq)).first()
        for op in json.loads(row.ops) if row is not None else ():
            if (known := op.get("changed", {}).get("track_id")) is not None:
                return int(known)
    last = connection.execute(select(PROGRESS.c.last_seq).where(PROGRESS.c.project == project)).scalar() or 0
    return _FIRST_TRACK + int(last)


def history(connection: Connection, project: str, place: Place, object_id: str | None = None) -> list[dict[str, Any]]:
    """Return what was done on a frame, or on one of its objects: the last thousand events, the earliest first."""
    mine = (FRAMES.c.project == project) & (FRAMES.c.stream_id == place[0]) & (FRAMES.c.frame_idx == place[1])
    query = select(EVENTS, FRAMES.c.content_hash).join(FRAMES, FRAMES.c.frame_id == EVENTS.c.frame_id).where(mine)
    found = []
    for row in reversed(connection.execute(query.order_by(EVENTS.c.seq.desc()).limit(_MOST_EVENTS)).all()):
        ops = json.loads(row.ops)
        if object_id is not None:
            ops = [op for op in ops if op.get("object_id") == object_id]
            if not ops:
                continue
        found.append(
            {
                "seq": row.seq,
                "event_id": row.event_id,
                "revision": row.revision,
                "kind": row.kind,
                "state": row.state,
                "user": row.user_name,
                "at_ns": row.at_ns,
                "note": row.note,
                "h": row.content_hash[:16],
                "ops": ops,
            }
        )
    return found


def comments_of(connection: Connection, project: str, place: Place) -> list[dict[str, Any]]:
    """Return the comments on a frame, the earliest first."""
    query = select(COMMENTS).where(*_on(project, place)).order_by(COMMENTS.c.at_ns)
    return [
        {"comment_id": c.comment_id, "user": c.user_name, "at_ns": c.at_ns, "text": c.text, "object_id": c.object_id}
        for c in connection.execute(query)
    ]


def count_comments(connection: Connection, project: str, place: Place) -> int:
    """Return how many comments there are on a frame."""
    query = select(func.count()).select_from(COMMENTS).where(*_on(project, place))
    return int(connection.execute(query).scalar_one())


def add_comment(
    connection: Connection, project: str, place: Place, user: str, text: str, object_id: str | None = None
) -> None:
    """Add a comment on a frame, or on an object of it."""
    if not text.strip() or len(text) > _MOST_TEXT:
        raise InvalidEditError(f"text: expected 1 to {_MOST_TEXT:,} characters")
    values = {
        "comment_id": secrets.token_urlsafe(12),
        "project": project,
        "stream_id": place[0],
        "frame_idx": place[1],
        "object_id": object_id,
        "user_name": user,
        "at_ns": time.time_ns(),
        "text": text,
    }
    connection.execute(insert(COMMENTS).values(values))


def _on(project: str, place: Place) -> tuple[Any, ...]:
    return COMMENTS.c.project == project, COMMENTS.c.stream_id == place[0], COMMENTS.c.frame_idx == place[1]
