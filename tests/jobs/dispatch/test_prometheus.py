from __future__ import annotations

import re
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.core.processes import process_identity
from jobs.dispatch import prometheus
from jobs.dispatch.overview import Overview
from jobs.dispatch.prometheus import serve, text
from jobs.records.job_log import JobLog
from jobs.records.journal import Journal
from jobs.storage.paths import place
from tests.waiting import PATIENCE_S, wait_until

_LABEL = r'[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"'
_SAMPLE = re.compile(rf"([a-z_]+)(\{{{_LABEL}(?:,{_LABEL})*\}})? (-?[0-9.e+]+)")


def busy(root: Path) -> None:
    """A workspace with a job that waits and one that has measured 300 of 1,000 frames, 100 a second."""
    JobLog(place(root), "waits").add("submitted", {"request": {}})
    runs = JobLog(place(root), "runs")
    runs.add("submitted", {"request": {}})
    runs.add("claimed", {"process": process_identity()})
    now = time.time_ns()
    journal = Journal.of(place(root), "runs")
    journal.write("run_started", at_ns=now - 3 * 10**9, frames=1000)
    journal.write("stage_started", at_ns=now - 3 * 10**9, stage="measure", frames=1000)
    for second in (2, 1, 0):
        journal.write("block_done", at_ns=now - second * 10**9, frames=100)
    journal.write("frames_set_aside", frames=2, error="OSError: away")


def test_every_line_is_as_the_format_wants_it(tmp_path: Path) -> None:
    busy(tmp_path)
    lines = text(Overview(place(tmp_path)).values()).splitlines()
    declared = ""
    samples: dict[str, float] = {}
    for line in lines:
        if line.startswith("# HELP "):
            declared = line.split()[2]
            assert declared not in {name.partition("{")[0] for name in samples}
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {declared} gauge"
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] == declared
            samples[f"{found[1]}{found[2] or ''}"] = float(found[3])
    assert samples["winnow_gateway_up"] == 0
    assert samples["winnow_queue_depth"] == 1
    assert samples['winnow_jobs{state="running"}'] == 1
    assert samples['winnow_job_frames_done{job_id="runs",stage="measure"}'] == 300
    assert samples['winnow_job_frames_total{job_id="runs",stage="measure"}'] == 1000
    assert 50 < samples['winnow_job_frames_per_second{job_id="runs",stage="measure"}'] <= 100.1
    assert samples['winnow_job_frames_set_aside{job_id="runs"}'] == 2
    assert samples['winnow_worker_resident_memory_bytes{job_id="runs"}'] > 10e6


def test_label_values_are_escaped(tmp_path: Path) -> None:
    values = Overview(place(tmp_path)).values()
    values["jobs"] = {'a"b\\c\nd': 1}
    assert 'winnow_jobs{state="a\\"b\\\\c\\nd"} 1.0' in text(values).splitlines()


def test_metrics_are_served_on_loopback_only_and_nothing_else_is(tmp_path: Path) -> None:
    busy(tmp_path)
    server = serve(place(tmp_path), 0)
    try:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert b'winnow_jobs{state="pending"} 1.0\n' in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S)
        with pytest.raises(UserError, match="name another port"):
            serve(place(tmp_path), int(port))
    finally:
        server.shutdown()
        server.server_close()


def test_requests_that_never_end_hold_few_threads_and_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "_REQUEST_S", 0.5)
    before = threading.active_count()
    server = serve(place(tmp_path), 0)
    port = server.server_address[1]
    half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        for each in half_open:
            each.send(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        # Each connection has a thread, and a watch of its own.
        assert threading.active_count() <= before + 1 + 2 * prometheus._AT_ONCE

        def answered() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
                    return b"winnow_gateway_up" in answer.read()
            except (urllib.error.URLError, OSError):
                return False

        assert wait_until(answered, "the half-open requests are held for good")
    finally:
        for each in half_open:
            each.close()
        server.shutdown()
        server.server_close()
