"""A real S3 server in a process of its own, and a proxy before it that throttles and drops, for tests."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote

from tests.reference import ROOT
from tests.waiting import PATIENCE_S, wait_until
from transforms.io import object_store

_WAIT_S = 1.5
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

Fault = str | None
"""What becomes of a request: None lets it pass; `throttle` answers 503; `drop` closes the connection before anybody
has heard of it, `mute` when it was done and before the answer; `cut` in the middle of the answer. `heedless` passes it
without the condition that it is made on, `wait` after a second and a half."""


@contextmanager
def server() -> Iterator[str]:
    """Start a server and return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.s3_server", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None
        with suppress(OSError):
            urllib.request.urlopen(f"{address}/moto-api/").close()
            return True
        return False

    try:
        wait_until(answers, "the server did not come up")
        yield address
    finally:
        process.kill()
        process.wait()


def environment(address: str, key: str = "test", secret: str = "test") -> dict[str, str]:
    """Return the variables under which programs use a server, and nothing else that this machine may know."""
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
    }


def upload(folder: Path, uri: str) -> str:
    """Put the files of a folder below a prefix, and return that."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        object_store.put(f"{uri}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return uri


def keys(uri: str) -> list[str]:
    """Return what is below a prefix, relative to it."""
    return [entry.uri.removeprefix(f"{uri}/") for entry in object_store.listing(uri)]


@dataclass
class Flaky:
    """What the proxy does: `fault` is asked of every request, by its method, its path and its number.

    `hold` is called with the path of each before it is passed on, and may keep it waiting.
    """

    address: str
    fault: Callable[[str, str, int], Fault] = lambda method, path, number: None
    hold: Callable[[str], object] = lambda path: None
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    n_requests: int = 0
    lock: Lock = field(default_factory=Lock)

    def next_is(self, fault: str) -> None:
        """Let the next request meet with a fault, and the ones behind it pass."""
        chosen = self.n_requests + 1
        self.fault = lambda method, path, number: fault if number == chosen else None

    def decide(self, method: str, path: str) -> Fault:
        """Say what becomes of the next request."""
        with self.lock:
            self.n_requests += 1
            chosen = self.fault(method, path, self.n_requests)
            if chosen:
                self.faults.append((chosen, method, path))
            return chosen


@contextmanager
def flaky(behind: str) -> Iterator[Flaky]:
    """Start a proxy before a server; it passes everything on until a test sets a fault."""
    host = behind.removeprefix("http://")
    rules = Flaky("")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = rules.decide(self.command, unquote(self.path))
            if fault == "drop":
                self.hang_up()
                return
            rules.hold(unquote(self.path))
            time.sleep(_WAIT_S if fault == "wait" else 0)
            if fault == "throttle":
                self.answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN)
                return
            upstream = http.client.HTTPConnection(host, timeout=PATIENCE_S)
            left_out = "if-none-match" if fault == "heedless" else ""
            sent = {name: value for name, value in self.headers.items() if name.lower() != left_out}
            upstream.request(self.command, self.path, body, sent)
            found = upstream.getresponse()
            data = found.read()
            upstream.close()
            if fault == "mute":
                self.hang_up()
                return
            headers = {n: v for n, v in found.getheaders() if n.lower() not in {"connection", "transfer-encoding"}}
            self.answer(found.status, headers, data, cut=fault == "cut")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815

        def answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
            self.send_response_only(status)
            length = headers.pop("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.wfile.flush()
                self.hang_up()

        def hang_up(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.daemon_threads = True
    rules.address = f"http://127.0.0.1:{proxy.server_address[1]}"
    Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield rules
    finally:
        proxy.shutdown()
        proxy.server_close()


def winnow_process(*words: object, **variables: str) -> subprocess.Popen[str]:
    """Start the program as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *(str(word) for word in words)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
