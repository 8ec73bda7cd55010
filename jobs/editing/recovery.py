"""The app database made again from `review_events`, where it has lost what the tables have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

import schemas
from jobs.accounts.database import Database
from jobs.core.errors import UserError
from jobs.editing.event_rows import object_row
from jobs.editing.operations import EditedObject, replayed
from jobs.editing.publication import highest_seq, progress
from jobs.editing.tables import COMMENTS, EVENTS, FRAMES, LEASES, OBJECTS, PROGRESS, SKIPS
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace

_KEPT = ("state", "revision", "submitted_by", "approved_by", "note", "tags", "last_seq", "updated_ns")


@dataclass
class _Frame:
    """A frame while its events are applied."""

    values: dict[str, Any]
    objects: dict[str, EditedObject] = field(default_factory=dict)


def lost_events(database: Database, project: str, workspace: Workspace) -> tuple[int, int]:
    """Return the numbers of the last event in the app database and in the tables; the first is less if it lost some."""
    with database.read() as connection:
        _, last = progress(connection, project)
    return last, highest_seq(Store(workspace.root).open(schemas.REVIEW_EVENTS))


def check(database: Database, project: str, workspace: Workspace, recovers: bool = False) -> int:
    """Make an app database that has no event of a project again from the tables; return how many events it got.

    Where it has some events and lacks others, as one from a backup does, this is done with `recovers` alone; else
    `UserError` says so, since events that it would number from there on would be taken for published ones.
    """
    last, in_tables = lost_events(database, project, workspace)
    if last >= in_tables:
        return 0
    if last and not recovers:
        raise UserError(
            f"the app database knows {last:,} events of project {project}, its tables have {in_tables:,}: was it made "
            "of a backup? `winnow serve --recover` takes the others over from the tables"
        )
    rows = Store(workspace.root).open(schemas.REVIEW_EVENTS).read().sort_by("seq").to_pylist()
    return database.write(lambda c: _rebuild(c, project, rows))


def _rebuild(connection: Connection, project: str, rows: list[dict[str, Any]]) -> int:
    """Replace all events of a project by those of the tables. Raises `UserError` where some are in neither order."""
    by_seq = {row["seq"]: row["event_id"] for row in rows}
    known = connection.execute(select(EVENTS.c.seq, EVENTS.c.event_id).where(EVENTS.c.project == project)).all()
    if other := [row.seq for row in known if by_seq.get(row.seq) != row.event_id]:
        raise UserError(
            f"project {project}: event {other[0]} of the app database is another one than in the tables; it belongs to "
            "another workspace"
        )
    if sorted(by_seq) != list(range(1, len(rows) + 1)):
        raise UserError(f"project {project}: numbers are missing in review_events; restore the table from a backup")
    _delete_frames(connection, project)
    frames: dict[tuple[str, int, str], _Frame] = {}
    for row in rows:
        image = (row["stream_id"], row["frame_idx"], row["content_hash"])
        if image not in frames:
            frames[image] = _new_frame(connection, project, row)
        _apply(frames[image], row)
        connection.execute(insert(EVENTS).values(_event(project, frames[image].values["frame_id"], row)))
    for frame in frames.values():
        _store(connection, frame)
    n = len(rows)
    connection.execute(delete(PROGRESS).where(PROGRESS.c.project == project))
    connection.execute(insert(PROGRESS).values(project=project, last_seq=n, published_seq=n))
    return n - len(known)


def forget(connection: Connection, project: str) -> None:
    """Delete all that is known of a project, of which there is a new one of the same name."""
    _delete_frames(connection, project)
    for table in (LEASES, SKIPS, COMMENTS, PROGRESS):
        connection.execute(delete(table).where(table.c.project == project))


def _delete_frames(connection: Connection, project: str) -> None:
    mine = select(FRAMES.c.frame_id).where(FRAMES.c.project == project)
    connection.execute(delete(EVENTS).where(EVENTS.c.project == project))
    connection.execute(delete(OBJECTS).where(OBJECTS.c.frame_id.in_(mine)))
    connection.execute(delete(FRAMES).where(FRAMES.c.project == project))


def _new_frame(connection: Connection, project: str, row: Mapping[str, Any]) -> _Frame:
    values = {
        "project": project,
        **{name: row[name] for name in ("stream_id", "frame_idx", "content_hash", "width", "height", "state")},
        "revision": 0,
        "n_objects": 0,
        "tags": "[]",
        "last_seq": row["seq"],
        "updated_ns": row["at_ns"],
    }
    frame_id = connection.execute(insert(FRAMES).values(values).returning(FRAMES.c.frame_id)).scalar_one()
    nobody = dict.fromkeys(("submitted_by", "approved_by", "note"))
    return _Frame({**values, **nobody, "frame_id": frame_id})


def _apply(frame: _Frame, row: Mapping[str, Any]) -> None:
    log = json.loads(row["ops"])
    replayed(log, frame.objects, row["revision"], row["reviewer"], row["at_ns"])
    tags = [entry["tags"] for entry in log if entry["op"] == "tags"]
    who: dict[str, str | None] = {}
    if row["kind"] == "submit":
        who["submitted_by"] = row["reviewer"]
    if row["state"] == "approved":
        who["approved_by"] = row["reviewer"] or None
    if row["kind"] in {"return", "reopen"}:
        who["approved_by"] = None
    if row["kind"] == "reopen":
        who["submitted_by"] = None
    if row["kind"] in {"submit", "return", "reopen"}:
        who["note"] = row["note"]
    if tags:
        frame.values["tags"] = json.dumps(tags[-1], ensure_ascii=False)
    same = {"state": row["state"], "revision": row["revision"], "last_seq": row["seq"], "updated_ns": row["at_ns"]}
    frame.values |= {**same, **who}


def _event(project: str, frame_id: int, row: Mapping[str, Any]) -> dict[str, Any]:
    same = ("seq", "event_id", "revision", "kind", "ops", "digest", "state", "note", "at_ns", "active_ms")
    return {
        "project": project,
        "frame_id": frame_id,
        "user_name": row["reviewer"],
        **{name: row[name] for name in same},
    }


def _store(connection: Connection, frame: _Frame) -> None:
    frame_id = frame.values["frame_id"]
    n_objects = sum(not known.is_deleted for known in frame.objects.values())
    values = {**{name: frame.values[name] for name in _KEPT}, "n_objects": n_objects}
    connection.execute(update(FRAMES).where(FRAMES.c.frame_id == frame_id).values(values))
    rows = [object_row(frame_id, name, known) for name, known in frame.objects.items()]
    if rows:
        connection.execute(insert(OBJECTS), rows)


def gaps(connection: Connection, project: str) -> Iterable[str]:
    """Yield a line for each kind of gap in the numbers of events and in the revisions of frames."""
    mine = EVENTS.c.project == project
    n, last = connection.execute(select(func.count(), func.max(EVENTS.c.seq)).where(mine)).one()
    if n and n != last:
        yield f"project {project}: expected {last:,} events by the last number, found {n:,}"
    per_frame = select(EVENTS.c.frame_id, func.count().label("n"), func.max(EVENTS.c.revision).label("last"))
    chains = per_frame.where(mine).group_by(EVENTS.c.frame_id).subquery()
    broken = select(func.count()).select_from(chains).where(chains.c.n != chains.c.last + 1)
    if n_broken := connection.execute(broken).scalar_one():
        yield f"project {project}: {n_broken:,} frames have a gap in their revisions"
