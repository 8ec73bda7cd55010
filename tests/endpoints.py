"""A real HTTP server that answers as vision language models do, and as badly as they sometimes do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import wait_until

Wrap = Callable[[str], dict[str, Any]]


def openai(text: str) -> dict[str, Any]:
    """An answer as chat completions have it."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def anthropic(text: str) -> dict[str, Any]:
    """An answer as the Messages API has it, the tool filled in."""
    try:
        part: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "verdicts", "input": json.loads(text)}
    except ValueError:
        part = {"type": "text", "text": text}
    usage = {"input_tokens": 1000, "output_tokens": 100}
    reported = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    return {**reported, "stop_sequence": None, "content": [part], "usage": usage}


def gemini(text: str) -> dict[str, Any]:
    """An answer as `generateContent` has it."""
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"}


WRAPS: dict[str, Wrap] = {"openai": openai, "anthropic": anthropic, "gemini": gemini}


@dataclass(frozen=True)
class Bad:
    """How it answers once: with a status, headers, a text or a whole body, half of that, or after a while.

    `after` is how many questions have to have come by then, this one included.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str | None = None
    body: Any = None
    half: bool = False
    after_s: float = 0.0
    after: int = 0


@dataclass
class Endpoint:
    """The server: `bad` answers come first, each once, then `judge` says what to answer to the boxes of a question."""

    url: str = ""
    bad: list[Bad] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    judge: Callable[[list[dict[str, Any]]], dict[str, Any]] = lambda boxes: {
        "objects": [{"number": box["number"], "verdict": "keep", "category": None} for box in boxes],
        "missing": [],
    }


def boxes_in(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the boxes that a question of any dialect names; none of a question about something else."""
    text = json.dumps(request)
    if "Boxes: " not in text:
        return []
    listed = json.loads(f'"{text.split("Boxes: ")[1].split(chr(34) + "}")[0]}"')
    return list(json.loads(listed))


@contextmanager
def endpoint(wrap: Wrap) -> Iterator[Endpoint]:
    """Serve on a port of its own."""
    there = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            there.asked.append(request)
            there.times.append(time.monotonic())
            there.headers.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
            bad = there.bad.pop(0) if there.bad else Bad()
            wait_until(lambda: len(there.asked) >= bad.after, every_s=0.01)
            time.sleep(bad.after_s)
            text = bad.text if bad.text is not None else json.dumps(there.judge(boxes_in(request)))
            said = wrap(text) if bad.status < 400 else {"error": {"message": f"no: {self.headers.as_string()}"}}
            data = json.dumps(said if bad.body is None else bad.body).encode()
            self.send_response(bad.status)
            for name, value in bad.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            try:
                self.wfile.write(data[: len(data) // 2] if bad.half else data)
            except OSError:
                self.close_connection = True
            if bad.half:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    there.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
