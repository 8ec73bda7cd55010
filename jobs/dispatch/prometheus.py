"""Prometheus metrics of a workspace: gateway, queue and running jobs, served on loopback."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock, Thread, Timer
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from jobs.core.errors import UserError, one_line
from jobs.dispatch.overview import Overview
from jobs.storage.paths import Place

_HOST = "127.0.0.1"
_AT_ONCE = 16
# No shorter than what Prometheus waits for an answer.
_REQUEST_S = 10.0

_Sample = tuple[dict[str, str], float | None]


class _Gauges(Collector):
    """The gauges of one snapshot, which `Overview.values` returned."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge with its samples; a value that is not known has no sample."""
        gateway, queue, running = (self._values[name] for name in ("gateway", "queue", "running"))
        yield _gauge("winnow_gateway_up", "Whether a gateway serves the workspace.", [({}, gateway is not None)])
        if gateway and "since_ns" in gateway:
            since = gateway["since_ns"] / 1e9
            yield _gauge(
                "winnow_gateway_start_time_seconds", "When the gateway was started, since 1970.", [({}, since)]
            )
        states = [({"state": state}, n) for state, n in self._values["jobs"].items()]
        yield _gauge("winnow_jobs", "Jobs of the workspace by their state.", states)
        yield _gauge("winnow_queue_depth", "Jobs that wait for a gateway.", [({}, queue["depth"])])
        yield _gauge("winnow_queue_due", "Jobs that could be started now.", [({}, queue["due"])])
        for name, field, text in (
            ("winnow_job_frames_done", "done", "Frames that the stage in progress has done."),
            ("winnow_job_frames_total", "total", "Frames that the stage in progress has to do."),
            ("winnow_job_frames_per_second", "frames_per_second", "Rate of the last half minute."),
            ("winnow_job_eta_seconds", "eta_s", "Time that the stage in progress still takes, at that rate."),
        ):
            samples = [({"job_id": job["job_id"], "stage": job["stage"] or ""}, job[field]) for job in running]
            yield _gauge(name, text, samples)
        quarantined = [({"job_id": job["job_id"]}, job["set_aside"]) for job in running]
        yield _gauge("winnow_job_frames_set_aside", "Frames quarantined after faults.", quarantined)
        silent = [({"job_id": job["job_id"]}, job["worker"]["silent_s"]) for job in running]
        yield _gauge("winnow_worker_silent_seconds", "Time since the last sign of life of a job's process.", silent)
        memory = [({"job_id": job["job_id"]}, (job["worker"]["rss_mb"] or 0) * 1e6) for job in running]
        yield _gauge("winnow_worker_resident_memory_bytes", "Memory of a job's process.", memory)


def gauges(values: Mapping[str, Any]) -> list[GaugeMetricFamily]:
    """Return the gauges of what `Overview.values` returned."""
    return list(_Gauges(values).collect())


def _gauge(name: str, text: str, samples: list[_Sample]) -> GaugeMetricFamily:
    """Return a gauge; its samples, each with its labels, have the same labels."""
    family = GaugeMetricFamily(name, text, labels=list(samples[0][0]) if samples else ())
    for labels, value in samples:
        if value is not None:
            family.add_metric(list(labels.values()), value)
    return family


def text(values: Mapping[str, Any]) -> str:
    """Return what `Overview.values` returned in the text format of Prometheus."""
    return generate_latest(_Gauges(values)).decode()


class _Server(ThreadingHTTPServer):
    """Holds a bounded number of connections, each for a bounded time, however slowly its request comes."""

    daemon_threads = True
    # One that is refused is closed at once; it does not wait for its turn.
    request_queue_size = 256

    def __init__(self, *arguments: Any) -> None:
        self._free = BoundedSemaphore(_AT_ONCE)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        watch = Timer(_REQUEST_S, _shut, (request,))
        watch.daemon = True
        watch.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            watch.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log no broken connections."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _shut(made: socket.socket) -> None:
    with suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)


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
            """Log no requests."""

    try:
        server = _Server((_HOST, port), Answers)
    except (OSError, OverflowError) as error:
        raise UserError(f"metrics cannot be served on {_HOST}:{port} ({one_line(error)}); name another port") from error
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
