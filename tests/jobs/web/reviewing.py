"""Somebody who reviews through the routes of a server, for tests."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from jobs.accounts.roles import Role
from tests.jobs.web.material import Server

STREAM = "yard/gate"
ORIGIN = {"origin": "http://127.0.0.1:8080"}


@dataclass
class Desk:
    """Somebody who reviews."""

    server: Server
    headers: dict[str, str]
    name: str = ""

    def post(self, route: str, **body: Any) -> httpx.Response:
        address = f"/api/v1/projects/{self.server.project}/review/{route}"
        return self.server.client.post(address, json=body, headers=self.headers)  # type: ignore[return-value]

    def get(self, route: str, **query: Any) -> Any:
        answer = self.server.get(f"review/{route}", httpx.Headers(self.headers), **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def frame(self, idx: int) -> Any:
        return self.get("frame", stream=STREAM, idx=idx)

    def edit(self, idx: int, *ops: dict[str, Any], kind: str = "edit", **more: Any) -> httpx.Response:
        """Send an edit of a frame as it is now, unless said otherwise."""
        now = self.frame(idx)
        body = {
            "event_id": secrets.token_hex(16),
            "stream": STREAM,
            "idx": idx,
            "h": now["h"],
            "base_revision": now["revision"],
            "kind": kind,
            "ops": list(ops),
        }
        route = "events" if kind in {"edit", "submit"} else "decisions"
        return self.post(route, **{**body, **more})


def desk(server: Server, role: Role) -> Desk:
    name = f"{role}-{secrets.token_hex(4)}"
    return Desk(server, {**dict(server.sign_in(name, role)), **ORIGIN}, name)
