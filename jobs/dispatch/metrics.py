"""What a workspace is busy with, in the text format of Prometheus, on loopback.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from jobs.core.errors import UserError, one_line
from jobs.dispatch.overview import Overview
from jobs.storage.paths import Place

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HOST = "127.0.0.1"

Sample = tuple[Mapping[str, str], float]


def text(values: Mapping[str, Any]) -> str:
    """Return what `Overview.values` returned as metrics."""
    return "".join(line + "\n" for line in _lines(values))


def _lines(values: Mapping[str, Any]) -> Iterator[str]:
    gateway = values["gateway"]
    running = values["running"]
    yield from _gauge("winnow_gateway_up", "Whether a gateway serves the workspace.", [({}, gateway is not None)])
    if gateway and "since_ns" in gateway:
        since: list[Sample] = [({}, gateway["since_ns"] / 1e9)]
        yield from _gauge("winnow_gateway_start_time_seconds", "When the gateway was started, since 1970.", since)
    states = [({"state": state}, n) for state, n in values["jobs"].items()]
    yield from _gauge("winnow_jobs", "Jobs of the workspace by their state.", states)
    yield from _gauge("winnow_queue_depth", "Jobs that wait for a gateway.", [({}, values["queue"]["depth"])])
    yield from _gauge("winnow_queue_due", "Jobs that could be taken up now.", [({}, values["queue"]["due"])])
    for name, field, said in (
        ("winnow_job_frames_done", "done", "Frames that the stage in progress has done."),
        ("winnow_job_frames_total", "total", "Frames that the stage in progress has to do."),
        ("winnow_job_frames_per_second", "frames_per_second", "Rate of the last half minute."),
        ("winnow_job_eta_seconds", "eta_s", "Time that the stage in progress takes yet, at that rate."),
    ):
        samples = [({"job_id": j["job_id"], "stage": j["stage"] or ""}, j[field]) for j in running]
        yield from _gauge(name, said, samples)
    aside = [({"job_id": j["job_id"]}, j["set_aside"]) for j in running]
    yield from _gauge("winnow_job_frames_set_aside", "Frames that faults kept from being computed.", aside)
    silent = [({"job_id": j["job_id"]}, j["worker"]["silent_s"]) for j in running]
    yield from _gauge("winnow_worker_silent_seconds", "Since the process of a job was heard of.", silent)
    memory = [({"job_id": j["job_id"]}, (j["worker"]["rss_mb"] or 0) * 1e6) for j in running]
    yield from _gauge("winnow_worker_resident_memory_bytes", "Memory of the process of a job.", memory)


def _gauge(name: str, said: str, samples: Iterable[tuple[Mapping[str, str], float | None]]) -> Iterator[str]:
    yield f"# HELP {name} {said}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        if value is not None:
            inside = ",".join(f'{label}="{_escaped(v)}"' for label, v in labels.items())
            number = repr(int(value)) if float(value).is_integer() else repr(float(value))
            yield f"{name}{{{inside}}} {number}" if inside else f"{name} {number}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def serve(root: Place, port: int) -> ThreadingHTTPServer:
    """Answer `/metrics` on loopback in a thread of its own. Raises `UserError` for a port that is taken."""
    overview, one_at_a_time = Overview(root), Lock()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "expected /metrics")
                return
            with one_at_a_time:
                body = text(overview.values()).encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    try:
        server = ThreadingHTTPServer((_HOST, port), Answers)
    except (OSError, OverflowError) as error:
        raise UserError(f"metrics cannot be served on {_HOST}:{port} ({one_line(error)}); name another port") from error
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
