"""A real HTTP server that stands in for the Hugging Face hub: one folder, as one repository at one commit."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Hub:
    """What it has of which repository, and the names of the files that were fetched."""

    folder: Path
    repository: str
    revision: str
    branch: str | None = None
    fetched: set[str] = field(default_factory=set)

    def listed(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


@contextmanager
def standing_in(
    monkeypatch: pytest.MonkeyPatch, folder: Path, repository: str, revision: str, branch: str | None = None
) -> Iterator[Hub]:
    """Have the hub's library ask this server, which knows nothing but this repository at this commit."""
    hub = Hub(folder, repository, revision, branch)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.ENDPOINT", address)
        monkeypatch.setattr(
            f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        yield hub
        server.shutdown()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    about = {f"/api/models/{hub.repository}/revision/{name}" for name in (hub.revision, hub.branch)}
    tree = f"/api/models/{hub.repository}/tree/{hub.revision}"
    files = f"/{hub.repository}/resolve/{hub.revision}/"

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in about:
                names = [{"rfilename": hub.name(file)} for file in hub.listed()]
                self._answer(json.dumps({"id": hub.repository, "sha": hub.revision, "siblings": names}).encode())
            elif path == tree:
                listed = [
                    {"type": "file", "path": hub.name(file), "size": file.stat().st_size, "oid": _etag(file)}
                    for file in hub.listed()
                ]
                self._answer(json.dumps(listed).encode())
            elif path.startswith(files) and (file := hub.folder / path.removeprefix(files)).is_file():
                if self.command == "GET":
                    hub.fetched.add(hub.name(file))
                self._answer(file.read_bytes(), _etag(file))
            else:
                self.send_error(404)

        def _answer(self, data: bytes, etag: str = "") -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", hub.revision)
            if etag:
                self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _etag(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:40]
