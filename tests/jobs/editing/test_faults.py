"""A server that is killed while people edit: what it acknowledged is there, once, and nothing has a gap."""

from __future__ import annotations

import json
import os
import random
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

import schemas
from jobs.accounts import keys
from jobs.accounts.database import Database
from jobs.editing import recovery
from jobs.editing.event_rows import objects_of
from jobs.editing.operations import EditedObject, replayed
from jobs.editing.tables import EVENTS, FRAMES
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.web.places import server_folder
from jobs.web.settings import Settings
from tests.accounts import TESTS, add_person, opened
from tests.jobs.review.material import N, annotated
from tests.jobs.web.reviewing import STREAM
from tests.web_process import server_process

pytestmark = [pytest.mark.process, pytest.mark.slow]

_CLIENTS = 4
_ROUNDS = int(os.environ.get("WINNOW_REVIEW_KILLS", "3"))
_SEED = int(os.environ.get("WINNOW_FAULT_SEED", "7"))


@dataclass
class Editor:
    """Somebody who edits, one edit after the other, and sends each until it is answered."""

    token: str
    random: random.Random
    url: str = ""
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    ends: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        body: dict[str, Any] | None = None
        while body is not None or not self.ends.is_set():
            headers = {"authorization": f"Bearer {self.token}"}
            try:
                with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
                    while body is not None or not self.ends.is_set():
                        body = body or self._next(client)
                        answer = client.post("/events", json=body)
                        assert answer.status_code == 200, answer.text
                        found = answer.json()
                        self.acknowledged[found["event_id"]] = found | {"idx": body["idx"]}
                        body = None
            except httpx.TransportError:
                # It is being started again.
                time.sleep(0.05)

    def _next(self, client: httpx.Client) -> dict[str, Any]:
        idx = self.random.randrange(N)
        now = client.get("/frame", params={"stream": STREAM, "idx": idx}).json()
        own = [o["object_id"] for o in now["objects"] if o["object_id"] in self.objects]
        if own and self.random.random() < 0.6:
            kind = self.random.choice(["set", "delete"])
            op: dict[str, Any] = {"op": kind, "object_id": self.random.choice(own)}
            if kind == "set":
                op["bbox"] = [self.random.randrange(100), 1, 20, 20]
        else:
            name = f"drawn-{secrets.token_hex(8)}"
            self.objects[name] = idx
            op = {"op": "add", "object_id": name, "category": "red", "bbox": [1, 1, 9, 9]}
        return {
            "event_id": secrets.token_hex(16),
            "stream": STREAM,
            "idx": idx,
            "h": now["h"],
            "base_revision": now["revision"],
            "kind": "edit",
            "ops": [op],
        }


def editors(database: Database) -> list[Editor]:
    found = []
    for at in range(_CLIENTS):
        person = add_person(database, f"editor{at}", is_admin=True, has_password=False)
        found.append(Editor(_key_of(database, person.user_id), random.Random(_SEED + at)))
    return found


def _key_of(database: Database, user_id: str) -> str:
    return database.write(lambda c: keys.add(c, TESTS, user_id, "edits", ["read", "annotate"], None))[1]


def test_no_acknowledged_edit_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path) -> None:
    workspace = annotated(tmp_path)
    settings = Settings(workspace=str(workspace.root))
    database = opened(f"sqlite:///{server_folder(settings) / 'accounts.sqlite'}")
    people = editors(database)
    chance = random.Random(_SEED)
    threads = [threading.Thread(target=person.work) for person in people]
    project = ""
    for at in range(_ROUNDS + 1):
        with server_process(Path(str(workspace.root))) as server:
            headers = {"authorization": f"Bearer {people[0].token}"}
            project = project or Path(str(workspace.root)).name
            for person in people:
                person.url = f"{server.api}/projects/{project}/review"
            if not at:
                for thread in threads:
                    thread.start()
            known = sum(len(person.acknowledged) for person in people)
            while sum(len(person.acknowledged) for person in people) < known + 10:
                time.sleep(0.02)
            if at < _ROUNDS:
                time.sleep(chance.uniform(0, 1.5))
                server.process.kill()
                server.process.wait()
                continue
            for person in people:
                person.ends.set()
            for thread in threads:
                thread.join()
            assert httpx.get(f"{server.api}/me", headers=headers).status_code in {200, 403}
            assert server.stop()[0] == 0
    _check(database, workspace, project, people)
    database.close()


def _check(database: Database, workspace: Workspace, project: str, people: list[Editor]) -> None:
    with database.read() as connection:
        events = connection.execute(select(EVENTS).order_by(EVENTS.c.seq)).all()
        assert list(recovery.gaps(connection, project)) == []
        frames = connection.execute(select(FRAMES)).all()
        stored = {frame.frame_id: objects_of(connection, frame.frame_id) for frame in frames}
    by_id = {event.event_id: event for event in events}
    assert len(by_id) == len(events)
    acknowledged = {name: answer for person in people for name, answer in person.acknowledged.items()}
    for name, answer in acknowledged.items():
        assert (by_id[name].seq, by_id[name].revision) == (answer["seq"], answer["revision"])
    # What clients sent until it was answered is all that there is.
    assert {name for name, event in by_id.items() if event.kind != "seed"} == acknowledged.keys()
    again: dict[int, dict[str, EditedObject]] = {frame.frame_id: {} for frame in frames}
    published = Store(workspace.root).open(schemas.REVIEW_EVENTS).read().sort_by("seq").to_pylist()
    assert [row["event_id"] for row in published] == [event.event_id for event in events]
    ids = {(f.stream_id, f.frame_idx): f.frame_id for f in frames}
    for row in published:
        frame = again[ids[row["stream_id"], row["frame_idx"]]]
        replayed(json.loads(row["ops"]), frame, row["revision"], row["reviewer"], row["at_ns"])
    bodies = {key: {name: (o.body, o.is_deleted) for name, o in known.items()} for key, known in again.items()}
    assert bodies == {key: {n: (o.body, o.is_deleted) for n, o in known.items()} for key, known in stored.items()}
