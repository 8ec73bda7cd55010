"""A server that shows a million frames: its start, its memory, and how long it takes to answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.bench.shown import shown_tables
from tests.web_process import server_process

FRAMES = 1_000_000
_SETTLE_S = 2.0
_WHERE = ("sharpness > 0.5", "luma_mean < 40", "keep AND motion_peak > 0.2", "list_contains(reasons, 'dark')")


class Answers(NamedTuple):
    """What was asked, and how long each answer took: a median, and the largest of them, in ms."""

    what: str
    median_ms: float
    most_ms: float
    target_ms: float


class Measured(NamedTuple):
    """Start (s), memory (MB) before any query, after counts and in the end, and answers."""

    start_s: float
    idle_mb: float
    counted_mb: float
    end_mb: float
    answers: Sequence[Answers]


def measure() -> Measured:
    """Serve a million frames and ask as pages do."""
    workspace = shown_tables(FRAMES)
    begun = time.perf_counter()
    with server_process(Path(str(workspace.root))) as server, server.browser() as browser:
        start_s = time.perf_counter() - begun
        pid = server.process.pid
        idle = _resident_mb(pid)
        root = f"{server.api}/projects/{browser.get(f'{server.api}/me').json()['projects'][0]['project']}"
        _ask(browser, [("GET", f"{root}/facets", {})])
        # What loading took for a moment, such as the hash of a password, is no part of it.
        time.sleep(_SETTLE_S)
        counted = _resident_mb(pid)
        _ask(browser, [("GET", f"{root}/thresholds", {})])
        answers = [
            _answers("counts of a filter", 300, browser, [("GET", f"{root}/facets?hour={h}", {}) for h in range(12)]),
            _answers(
                "frames by an SQL condition", 300, browser, [("GET", f"{root}/frames", {"where": w}) for w in _WHERE]
            ),
            _answers(
                "a threshold that moves, its new counts",
                100,
                browser,
                [
                    ("POST", f"{root}/thresholds/preview", {"settings": [f"curation.dark_mean={n}"]})
                    for n in range(33, 45)
                ],
            ),
        ]
        return Measured(start_s, idle, counted, _resident_mb(pid), answers)


def _answers(what: str, target_ms: float, browser: httpx.Client, requests: Sequence[tuple[str, str, Any]]) -> Answers:
    took = sorted(_ask(browser, requests))
    return Answers(what, took[len(took) // 2], took[-1], target_ms)


def _ask(browser: httpx.Client, requests: Sequence[tuple[str, str, Any]]) -> list[float]:
    took = []
    for method, url, given in requests:
        begun = time.perf_counter()
        given_as = {"params": given or None} if method == "GET" else {"json": given}
        answer = browser.request(method, url, **given_as)
        answer.raise_for_status()
        took.append((time.perf_counter() - begun) * 1000)
    return took


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
