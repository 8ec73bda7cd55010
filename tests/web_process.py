"""A server as a process of its own, and a browser of its machine that is signed in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.waiting import PATIENCE_S, ended


@dataclass
class ServerProcess:
    """`winnow serve`; `entrance` is the token of its one-time address, None where it is used or there was none."""

    place: Path
    process: subprocess.Popen[str]
    url: str
    entrance: str | None

    @property
    def api(self) -> str:
        """Return where the API is."""
        return f"{self.url}/api/v1"

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """Give a client that the one-time address has signed in."""
        token, self.entrance = self.entrance, None
        with httpx.Client(headers={"origin": self.url}, timeout=PATIENCE_S) as client:
            assert client.post(f"{self.api}/session/enter", json={"token": token}).status_code == 200
            yield client

    def another_browser(self) -> AbstractContextManager[httpx.Client]:
        """Give one more client, by a new one-time address."""
        command = [sys.executable, "-m", "jobs.cli", "serve", "--workspace", str(self.place), "--address"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.entrance = printed.strip().rpartition("#")[2]
        return self.browser()

    def stop(self) -> tuple[int, str, str]:
        """Stop it as Ctrl-C does; return its exit code, the rest of its output, and its errors."""
        self.process.send_signal(2)
        return ended(self.process)


@contextmanager
def server_process(place: Path, *options: str, pages: bool = False) -> Iterator[ServerProcess]:
    """Serve a workspace at any free port until the test is through."""
    command = [sys.executable, "-m", "jobs.cli", "serve", "--workspace", str(place), "--port", "0", *options]
    process = subprocess.Popen(
        command if pages else [*command, "--no-pages"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        if first.startswith("made the workspace "):
            first = process.stdout.readline()
        assert first.startswith("serving at "), (first, process.communicate(timeout=PATIENCE_S))
        url = first.removeprefix("serving at ").partition(";")[0]
        second = process.stdout.readline() if url.startswith("http://127.0.0.1") else ""
        yield ServerProcess(place, process, url, second.rpartition("#")[2].strip() or None)
    finally:
        if "--with-gateway" in options and process.poll() is None:
            # The gateway ends with a server that is stopped, and outlives one that is killed.
            process.send_signal(2)
            ended(process)
        process.kill()
        process.communicate()


@dataclass
class EventStream:
    """What arrives on a stream of events, taken apart as a browser does."""

    lines: Iterator[str]
    last_id: str | None = field(default=None)

    def next(self) -> tuple[str, dict[str, Any]]:
        """Return the kind and the data of the next event. Raises `StopIteration` where the server ends the stream."""
        kind, data = "message", ""
        for line in self.lines:
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value
            elif name == "id":
                self.last_id = value
            elif not line and data:
                return kind, json.loads(data)
        raise StopIteration

    def until(self, kind: str, **values: Any) -> dict[str, Any]:
        """Return the data of the next event of a kind that has these values."""
        while True:
            found, data = self.next()
            if found == kind and values.items() <= data.items():
                return data
