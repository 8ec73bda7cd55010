"""How long an edit takes to be acknowledged, next to an empty request and a flush of the disk in the same seconds."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from jobs.accounts import keys
from jobs.storage.workspace import Workspace
from jobs.web.places import server_folder
from jobs.web.settings import Settings
from tests.accounts import TESTS, add_person, opened
from tests.web_process import server_process

_CLIENTS = 20
_EVERY_S = 0.2
_PAGE = b"x" * 4096


@dataclass
class Latencies:
    """Seconds of each request, and of each flush of 4 KiB next to the app database; and how many edits were refused."""

    edits: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)
    flushes: list[float] = field(default_factory=list)
    lost: int = 0

    def p99_ms(self, name: str) -> float:
        """Return the 99th percentile of one of them, in ms."""
        return 1000 * float(np.percentile(getattr(self, name), 99))

    def p50_ms(self, name: str) -> float:
        """Return the median of one of them, in ms."""
        return 1000 * float(np.percentile(getattr(self, name), 50))

    @property
    def ratio(self) -> float:
        """Return the 99th percentile of edits by the sum of those of an empty request and of a flush."""
        return self.p99_ms("edits") / (self.p99_ms("empty") + self.p99_ms("flushes"))


def acknowledging(workspace: Workspace, seconds: float) -> Latencies:
    """Have 20 people edit a workspace for some seconds, five edits a second each, with an empty request before each."""
    settings = Settings(workspace=str(workspace.root))
    folder = server_folder(settings)
    database = opened(f"sqlite:///{folder / 'accounts.sqlite'}")
    found = Latencies()
    tokens = []
    for _ in range(_CLIENTS):
        person = add_person(database, f"bench-{secrets.token_hex(4)}", is_admin=True, has_password=False)
        tokens.append(database.write(_key_of(person.user_id)))
    database.close()
    with server_process(Path(str(workspace.root))) as server, _flushing(folder, found, seconds):
        route = f"/api/v1/projects/{Path(str(workspace.root)).name}/review"
        threads = [
            threading.Thread(target=_edit, args=(server.url, route, token, at, seconds, found))
            for at, token in enumerate(tokens)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def _key_of(user_id: str) -> Any:
    return lambda connection: keys.add(connection, TESTS, user_id, "bench", ["read", "annotate"], None)[1]


@contextmanager
def _flushing(folder: Path, found: Latencies, seconds: float) -> Iterator[None]:
    file = folder / "flushed"
    ends = threading.Event()

    def work() -> None:
        handle = os.open(file, os.O_CREAT | os.O_WRONLY)
        while not ends.wait(_EVERY_S / 4):
            began = time.perf_counter()
            os.pwrite(handle, _PAGE, 0)
            os.fdatasync(handle)
            found.flushes.append(time.perf_counter() - began)
        os.close(handle)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
        file.unlink()


def _edit(url: str, route: str, token: str, at: int, seconds: float, found: Latencies) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, Any, float]:
        began = time.perf_counter()
        connection.request(method, route + path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data), time.perf_counter() - began

    frames = ask("GET", "/queue?limit=1000")[1]["frames"]
    frame = frames[at % len(frames)]
    now = {"stream": frame["stream_id"], "idx": frame["frame_idx"], "h": frame["h"]}
    revision = int(frame["revision"])
    end = time.perf_counter() + seconds
    due = time.perf_counter() + _EVERY_S * at / _CLIENTS
    while due < end:
        time.sleep(max(0.0, due - time.perf_counter()))
        due += _EVERY_S
        # A body without any field is refused after the check of who may: all that is left of a request without work.
        found.empty.append(ask("POST", "/events", b"{}")[2])
        op = {"op": "add", "object_id": f"bench-{secrets.token_hex(8)}", "category": "red", "bbox": [1, 1, 9, 9]}
        body = {"event_id": secrets.token_hex(16), **now, "base_revision": revision, "kind": "edit", "ops": [op]}
        status, answer, took = ask("POST", "/events", json.dumps(body).encode())
        if status == 200:
            revision = answer["revision"]
            found.edits.append(took)
        else:
            found.lost += 1
