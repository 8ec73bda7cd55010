"""From a command to a grid of images in a browser: ours, and LightlyStudio's on the same frames, in turn."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext

from tests.bench import material
from tests.environments import interpreter
from tests.jobs.web.browsing import chromium

LIGHTLY_STUDIO = "lightly-studio==1.2.0"

_FRAMES = 6_000
_REQUESTS = 40
_PAGE = 100
_LONGEST_S = 600.0
_EVERY_S = 0.02
# As many images as a first row has, whole.
_SHOWN = "[...document.images].filter(i => i.complete && i.naturalWidth > 30).length >= 6"


@dataclass(frozen=True)
class Seen:
    """What was measured of a program: seconds to its grid, its memory then, and how long a filter takes.

    `listed_s` is from files to a grid with what is read of files alone, `measured_s` with all that a run measures by
    default, `again_s` where the files are known already.
    """

    listed_s: float
    measured_s: float
    again_s: float
    memory_mb: float
    filter_ms: float


def ours(frames: Path, place: Path, browser: Browser) -> Seen:
    """List the frames and serve them; measure them and serve them; and serve them once more."""
    command = [sys.executable, "-m", "jobs.cli"]

    def run(tables: Path, *more: str) -> None:
        words = [*command, "run", "--workspace", str(tables), "--input", str(frames), "--json", *more]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def to_grid(tables: Path) -> tuple[float, float, float]:
        with _started([*command, "serve", "--workspace", str(tables), "--port", "0"]) as (process, lines):
            url = re.findall(r"http\S+/enter#\S+", "".join(next(lines) for _ in range(2)))[0]
            context = browser.new_context()
            page = context.new_page()
            page.goto(url)
            page.wait_for_url("**/overview")
            home = page.url.removesuffix("/overview")
            page.goto(f"{home}/frames")
            _until(lambda: bool(page.evaluate(_SHOWN)), process)
            seconds = time.perf_counter() - begun
            api = f"{home.replace('/p/', '/api/v1/projects/')}/frames"
            wanted = [{"where": f"width >= {n}", "limit": _PAGE} for n in range(_REQUESTS)]
            filtered = _median_ms([_asking(context, "GET", api, params=each) for each in wanted])
            memory = _memory_mb(process.pid)
            context.close()
        return seconds, memory, filtered

    begun = time.perf_counter()
    run(place / "listed", "--set", "stages=[frames]")
    listed_s, _, _ = to_grid(place / "listed")
    begun = time.perf_counter()
    run(place / "tables")
    measured_s, _, _ = to_grid(place / "tables")
    begun = time.perf_counter()
    again_s, memory, filtered = to_grid(place / "tables")
    return Seen(listed_s, measured_s, again_s, memory, filtered)


def theirs(frames: Path, place: Path, browser: Browser) -> Seen:
    """List the frames with LightlyStudio and serve them; then once more, with its database."""
    python = interpreter("bench-pages", "install", LIGHTLY_STUDIO)
    script = Path(__file__).with_name("serve_lightly_studio.py")

    def to_grid(*more: str) -> tuple[float, float, float]:
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        begun = time.perf_counter()
        with _started([str(python), str(script), str(frames), str(place / "theirs.db"), str(port), *more]) as (
            process,
            _,
        ):
            _until(lambda: httpx.get(url).status_code == 200, process)
            context = browser.new_context()
            page = context.new_page()
            page.goto(url)
            _until(lambda: bool(page.evaluate(_SHOWN)), process)
            seconds = time.perf_counter() - begun
            [dataset] = httpx.get(f"{url}/api/collections").json()[:1]
            api = f"{url}/api/collections/{dataset['collection_id']}/images/list"
            pages = {"offset": 0, "limit": _PAGE}
            wanted = [{"filters": {"width": {"min": n}}, "pagination": pages} for n in range(_REQUESTS)]
            filtered = _median_ms([_asking(context, "POST", api, data=each) for each in wanted])
            memory = _memory_mb(process.pid)
            context.close()
        return seconds, memory, filtered

    fresh_s, _, _ = to_grid("fresh")
    again_s, memory, filtered = to_grid()
    return Seen(fresh_s, fresh_s, again_s, memory, filtered)


def both() -> tuple[Seen, Seen]:
    """Return what was measured of ours and of LightlyStudio, each with what it writes in a new folder."""
    frames = material.frames_360p(_FRAMES)
    interpreter("bench-pages", "install", LIGHTLY_STUDIO)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        return ours(frames, Path(place), browser), theirs(frames, Path(place), browser)


@contextmanager
def _started(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    environment = os.environ | {"LIGHTLY_STUDIO_ANALYTICS_ENABLED": "false", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    try:
        yield process, iter(process.stdout)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(is_true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while True:
        try:
            if is_true():
                return
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(_EVERY_S)


def _asking(context: BrowserContext, method: str, url: str, **more: Any) -> Callable[[], None]:
    def ask() -> None:
        answer = context.request.fetch(url, method=method, **more)
        assert answer.ok, answer.text()
        answer.body()

    return ask


def _median_ms(asked: Sequence[Callable[[], None]]) -> float:
    """Return the median time of requests, each with a filter that none before it had."""
    took = []
    for ask in asked:
        begun = time.perf_counter()
        ask()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def _memory_mb(pid: int) -> float:
    """Return the memory of a process and its children, shared pages divided among those that share them."""
    found = 0.0
    for path in (pid, *_children(pid)):
        text = Path(f"/proc/{path}/smaps_rollup").read_text(encoding="utf-8")
        found += float(re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[0]) / 1000
    return found


def _children(pid: int) -> Iterator[int]:
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
        yield int(each)
        yield from _children(int(each))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
