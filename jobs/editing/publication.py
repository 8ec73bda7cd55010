"""Edits become rows of the tables: `review_events` has each once, `reviews` what was approved.

The number of an event says whether it is published: rows are added from the highest one that the table has on, in the
transaction that adds them. A process that dies between two steps repeats them, and finds that they are done.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Row, select, update

import schemas
from jobs.accounts.database import Database
from jobs.core.errors import UserError
from jobs.editing.objects import decision_row
from jobs.editing.tables import EVENTS, FRAMES, PROGRESS
from jobs.review.decisions import TAGS, frame_rows, record_decisions
from jobs.storage.data_files import write_part
from jobs.storage.maintenance import compact
from jobs.storage.store import Change, Snapshot, Store
from jobs.storage.workspace import Workspace

_JOB = "review"
_AT_ONCE = 500
_MANY_FILES = 64
_LOG = logging.getLogger("winnow.review")

PUBLISH_S = 1.5
"""Seconds for which edits are collected before they are published."""


class Publisher:
    """Publishes the edits of one project; safe for threads, and one per project in all processes."""

    def __init__(self, project: str, workspace: Workspace, database: Database) -> None:
        self._project = project
        self._workspace = workspace
        self._database = database
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._highest: tuple[int, int] | None = None

    def publish(self) -> int:
        """Publish all that is stored, and return the number of the last event that the tables have.

        Raises `UserError` and `OSError` where the tables cannot be written; what was not published stays stored.
        """
        with self._lock:
            while True:
                with self._database.read() as connection:
                    done, last = progress(connection, self._project)
                    events = _events_after(connection, self._project, done) if last > done else []
                if not events:
                    return done
                self._publish(events)

    def _publish(self, events: Sequence[Row[Any]]) -> None:
        store = self._store = self._store or Store(self._workspace.require().root)
        store.create_tables([schemas.REVIEW_EVENTS])
        store.transact(schemas.REVIEW_EVENTS, lambda snapshot: self._added(store, snapshot, events), _JOB)
        rows = reviews_of(events)
        if rows:
            names = {row["category"] for row in rows if row["category"]}
            record_decisions(self._workspace, rows, f"review {self._project}", sorted(names), of_server=True)
        last = events[-1].seq
        self._database.write(lambda c: _note_published(c, self._project, last))
        for table in (schemas.REVIEW_EVENTS, schemas.REVIEWS):
            if len((store.seen(table) or store.open(table)).files) > _MANY_FILES:
                compact(store, table, _JOB, _MANY_FILES)

    def _added(self, store: Store, snapshot: Snapshot, events: Sequence[Row[Any]]) -> Change | None:
        """Return the events that a version of the table has not."""
        if self._highest is None or self._highest[0] != snapshot.version:
            self._highest = (snapshot.version, highest_seq(snapshot))
        rows = [event_row(event) for event in events if event.seq > self._highest[1]]
        if not rows:
            return None
        table = pa.Table.from_pylist(rows, schemas.REVIEW_EVENTS.arrow_schema)
        return Change([write_part(store.root, schemas.REVIEW_EVENTS, table)])


def progress(connection: Connection, project: str) -> tuple[int, int]:
    """Return the numbers of the last event that is published, and of the last one."""
    row = connection.execute(select(PROGRESS).where(PROGRESS.c.project == project)).first()
    return (0, 0) if row is None else (row.published_seq, row.last_seq)


def unpublished(connection: Connection) -> list[str]:
    """Return the projects with events that are not published."""
    query = select(PROGRESS.c.project).where(PROGRESS.c.last_seq > PROGRESS.c.published_seq)
    return [row.project for row in connection.execute(query)]


def highest_seq(snapshot: Snapshot) -> int:
    """Return the number of the last event in `review_events`; 0 for none."""
    if not snapshot.n_rows:
        return 0
    return int(pc.max(snapshot.read(["seq"])["seq"]).as_py())


def _events_after(connection: Connection, project: str, seq: int) -> Sequence[Row[Any]]:
    frames = (FRAMES.c[name] for name in ("stream_id", "frame_idx", "content_hash", "width", "height"))
    query = select(EVENTS, *frames).join(FRAMES, FRAMES.c.frame_id == EVENTS.c.frame_id)
    newer = (EVENTS.c.project == project) & (EVENTS.c.seq > seq)
    return connection.execute(query.where(newer).order_by(EVENTS.c.seq).limit(_AT_ONCE)).all()


def event_row(event: Row[Any]) -> dict[str, Any]:
    """Return an event as a row of `review_events`."""
    same = ("seq", "event_id", "stream_id", "frame_idx", "content_hash", "width", "height", "revision", "kind", "ops")
    more = ("digest", "state", "note", "at_ns", "active_ms")
    return {**{name: getattr(event, name) for name in (*same, *more)}, "reviewer": event.user_name}


def reviews_of(events: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Return the rows of `reviews` that the last approval of each frame among some events makes."""
    last = {(e.stream_id, e.frame_idx, e.content_hash): e for e in events if e.approved is not None}
    rows = []
    for image, event in last.items():
        said = json.loads(event.approved)
        size = (event.width, event.height)
        decided = [decision_row(name, body, is_deleted, size) for name, body, is_deleted in said["objects"]]
        there = [row for row in decided if row is not None]
        made = frame_rows(image, there, said["reviewer"], event.at_ns, event.note, attributes={TAGS: said["tags"]})
        rows += [{**row, "event_seq": event.seq} for row in made]
    return rows


def _note_published(connection: Connection, project: str, seq: int) -> None:
    mine = PROGRESS.c.project == project
    connection.execute(update(PROGRESS).where(mine).values(published_seq=seq))
    # What an approval let stand is in the tables now.
    done = (EVENTS.c.project == project) & (EVENTS.c.seq <= seq) & EVENTS.c.approved.is_not(None)
    connection.execute(update(EVENTS).where(done).values(approved=None))


class Publication:
    """The publishers of all projects of a server, and the thread that calls them soon after an edit."""

    def __init__(
        self, database: Database, workspace_of: Callable[[str], Workspace], every_s: float = PUBLISH_S
    ) -> None:
        self._database = database
        self._workspace_of = workspace_of
        self._every_s = every_s
        self._lock = threading.Lock()
        self._held: dict[str, Publisher] = {}
        self._waiting: set[str] = set()
        self._wakes = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def of(self, project: str) -> Publisher:
        """Return the publisher of a project."""
        with self._lock:
            if project not in self._held:
                self._held[project] = Publisher(project, self._workspace_of(project), self._database)
            return self._held[project]

    def forget(self, project: str) -> None:
        """Make a new publisher of a project when it is needed next."""
        with self._lock:
            self._held.pop(project, None)
            self._waiting.discard(project)

    def note(self, project: str) -> None:
        """Have the edits of a project published soon."""
        with self._lock:
            self._waiting.add(project)
            if self._thread is None and not self._is_closing.is_set():
                self._thread = threading.Thread(target=self._work, name="review-publisher", daemon=True)
                self._thread.start()
        self._wakes.set()

    def note_left(self) -> None:
        """Have what a server that died left behind published."""
        with self._database.read() as connection:
            left = unpublished(connection)
        for project in left:
            self.note(project)

    def close(self) -> None:
        """Publish what is left, and end."""
        self._is_closing.set()
        self._wakes.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        pause = self._every_s
        while True:
            self._wakes.wait()
            self._wakes.clear()
            is_last = self._is_closing.wait(pause)
            with self._lock:
                projects, self._waiting = self._waiting, set()
            began = time.monotonic()
            failed = {project for project in projects if not self._publish(project)}
            # A publication that takes long, in a bucket say, leaves time for others.
            pause = max(self._every_s, 3 * (time.monotonic() - began))
            if is_last:
                return
            if failed:
                with self._lock:
                    self._waiting |= failed
                self._wakes.set()

    def _publish(self, project: str) -> bool:
        try:
            self.of(project).publish()
        except (UserError, OSError) as error:
            # They are stored, and tried again.
            _LOG.warning("edits of project %s cannot be published yet: %s", project, error)
            return False
        except Exception:
            _LOG.exception("edits of project %s cannot be published yet", project)
            return False
        return True
