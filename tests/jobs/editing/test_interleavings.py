"""Three clients on one frame, whose requests and answers get lost, are repeated and come late: some serial order.

What the routes answer is compared with a model of a few lines: for each object the revision at which it was changed
last, and what it is then.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.jobs.review.material import annotated
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import STREAM, Desk, desk

pytestmark = pytest.mark.process

_CATEGORIES = ("cat", "red")
_IDX = 1

Fate = Literal["arrives", "request lost", "answer lost", "arrives twice"]


@dataclass
class Model:
    """What is on the frame: category by object (None: deleted), and the revision at which each was changed last.

    `made`: who drew an object, and as what; `before`: what a deleted one was.
    """

    revision: int
    objects: dict[str, str | None] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)

    def answer(self, op: dict[str, Any], base: int, who: str) -> int:
        """Return the status of an edit, after taking it in."""
        name, kind, now = op["object_id"], op["op"], self.objects.get(op["object_id"])
        is_known = name in self.objects
        if kind == "add" and not is_known:
            self.made[name] = (who, op["category"])
            wanted = op["category"]
        elif kind == "add":
            # Drawn once more, by the same person and as it is.
            if now is None or self.made[name] != (who, now) or op["category"] != now:
                return 409
            wanted = now
        elif not is_known or (kind == "set" and now is None):
            return 409
        elif kind == "restore":
            wanted = now if now is not None else self.before[name]
        else:
            wanted = None if kind == "delete" else op["category"]
        if is_known and wanted != now and self.changed[name] > base:
            return 409
        self.revision += 1
        if not is_known or wanted != now:
            if now is not None:
                self.before[name] = now
            self.objects[name] = wanted
            self.changed[name] = self.revision
        return 200


@dataclass
class Client:
    """Somebody with a frame open: the revision that they know, and what waits for an answer."""

    who: Desk
    revision: int
    waiting: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("interleavings")
    (folder / "accounts").mkdir()
    return served(annotated(folder), folder / "accounts")


@pytest.fixture(scope="module")
def desks(server: Server) -> list[Desk]:
    return [desk(server, "annotator") for _ in range(3)]


_STEP = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["add", "set", "set", "delete", "restore"]),
    st.integers(0, 3),
    st.sampled_from(_CATEGORIES),
    st.sampled_from(["arrives", "arrives", "request lost", "answer lost", "arrives twice"]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(_STEP, min_size=5, max_size=30))
def test_every_interleaving_is_some_serial_order(
    desks: list[Desk], steps: list[tuple[int, str, int, str, Fate]]
) -> None:
    frame = desks[0].frame(_IDX)
    prefix = f"x{secrets.token_hex(4)}"
    model = Model(frame["revision"])
    clients = [Client(who, frame["revision"]) for who in desks]
    stored: dict[str, Any] = {}
    for who, kind, which, category, fate in steps:
        client = clients[who]
        op: dict[str, Any] = {"op": kind, "object_id": f"{prefix}-{which:04d}"}
        if kind == "add":
            op |= {"category": category, "bbox": [1, 1, 5, 5]}
        if kind == "set":
            op |= {"category": category}
        body = {
            "event_id": secrets.token_hex(16),
            "stream": STREAM,
            "idx": _IDX,
            "h": frame["h"],
            "base_revision": client.revision,
            "kind": "edit",
            "ops": [op],
        }
        # Clients send one edit after the other: what waits for an answer goes first, as it was.
        client.waiting.append(body)
        for _ in range(2 if fate == "arrives twice" else 1):
            _deliver(client, model, stored, fate)
    for client in clients:
        while client.waiting:
            _deliver(client, model, stored, "arrives")
    now = desks[0].frame(_IDX)
    assert now["revision"] == model.revision
    there = {o["object_id"]: o["category"] for o in now["objects"] if o["object_id"].startswith(prefix)}
    assert there == {name: category for name, category in model.objects.items() if category is not None}
    history = desks[0].get("history", stream=STREAM, idx=_IDX)["events"]
    mine = [event for event in history if event["event_id"] in stored]
    assert [event["event_id"] for event in mine] == sorted(stored, key=lambda name: stored[name]["seq"])
    revisions = [event["revision"] for event in history]
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))


def _deliver(client: Client, model: Model, stored: dict[str, Any], fate: Fate) -> None:
    """Send what a client has waiting longest; compare the answer with the model."""
    if fate == "request lost" or not client.waiting:
        return
    body = client.waiting[0]
    answer = client.who.post("events", **body)
    found = answer.json()
    if body["event_id"] in stored:
        # Repeated: the same answer, and nothing happens.
        assert (answer.status_code, found["seq"]) == (200, stored[body["event_id"]]["seq"])
        assert found["repeated"]
    else:
        expected = model.answer(body["ops"][0], body["base_revision"], client.who.name)
        assert answer.status_code == expected, (body, found)
        assert found["revision"] == model.revision
        if answer.status_code == 200:
            stored[body["event_id"]] = found
    if fate != "answer lost":
        client.waiting.pop(0)
        # An edit that waits behind it is about what its author knows now.
        client.revision = found["revision"]
        for later in client.waiting:
            later["base_revision"] = found["revision"]
