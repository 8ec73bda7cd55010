"""The editor of the pages next to an SVG scene and to Konva, without a GPU: `python -m tests.bench.editor`.

Prints one table: milliseconds at the 50th and the 95th percentile from what is done to the next frame of the screen,
which is never less than that takes to come; and, for canvases, how long script and rasterising keep a processor busy.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

from jobs.web.ui.build_pages import find_node
from tests.reference import ROOT

_HERE = Path(__file__).parent / "ui"
_PAGES = ROOT / "jobs/web/ui"
_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_WAYS = ("winnow", "konva", "svg")
# Shapes, corners of each, and most milliseconds at the 95th percentile of what the pages are to reach.
_SCENES: tuple[tuple[int, int, dict[str, float]], ...] = (
    (1000, 20, {"redraw, zoomed, busy": 30, "drag, busy": 16}),
    (5000, 20, {"open": 600, "select, busy": 16, "drag, busy": 16, "relabel, busy": 16}),
)
_PATIENCE_MS = 90_000


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def _build(out: Path) -> None:
    """Bundle the bench with the sources of the pages; Konva is installed next to the bench alone."""
    node = find_node()
    if node is None or not (_PAGES / "node_modules/vite").exists():
        raise SystemExit("expected the tools of the pages, found none; run `make ui` first")
    environment = os.environ | {"PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}", "WINNOW_BENCH_OUT": str(out)}
    if not (_HERE / "node_modules/konva").exists():
        npm = shutil.which("npm", path=environment["PATH"]) or "npm"
        subprocess.run([npm, "ci"], cwd=_HERE, env=environment, check=True)
    vite = _PAGES / "node_modules/vite/bin/vite.js"
    command = [
        str(node / "node"),
        str(vite),
        "build",
        "--config",
        str(_HERE / "vite.config.mjs"),
        "--logLevel",
        "error",
    ]
    subprocess.run(command, cwd=_HERE, env=environment, check=True)


def measure(ways: tuple[str, ...], rounds: int) -> list[tuple[int, str, dict[str, Any] | None]]:
    """Return what each way took on each scene, each in a page of its own; None where it did not end in time."""
    found: list[tuple[int, str, dict[str, Any] | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        _build(Path(folder))
        with _served(Path(folder)) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_OPTIONS)
            for count, corners, _ in _SCENES:
                for way in ways:
                    page = browser.new_page(viewport={"width": 1320, "height": 840})
                    page.set_default_timeout(_PATIENCE_MS)
                    page.goto(url)
                    page.wait_for_function("globalThis.run !== undefined")
                    script = f"Promise.race([run('{way}', {count}, {corners}, {rounds}), new Promise((_, reject) => "
                    try:
                        found.append((count, way, page.evaluate(f"{script}setTimeout(reject, {_PATIENCE_MS}))])")))
                    except Error:
                        found.append((count, way, None))
                    page.close()
            browser.close()
    return found


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--ways", default=",".join(_WAYS))
    options = parser.parse_args()
    found = measure(tuple(options.ways.split(",")), options.rounds)
    sys.stdout.write(
        f"{'shapes':>6}  {'what':<28}" + "".join(f"{way:>20}" for way in options.ways.split(",")) + "  target\n"
    )
    for count, _, targets in _SCENES:
        by_way = {way: result for number, way, result in found if number == count}
        names = list(dict.fromkeys(what for result in by_way.values() for what in result or ()))
        for what in names:
            cells = [
                ("not in 90 s" if result is None else "-")
                if result is None or what not in result
                else f"{result[what]['p50']:.1f} / {result[what]['p95']:.1f}"
                for result in by_way.values()
            ]
            target = targets.get(what)
            own = by_way.get("winnow")
            met = "" if target is None or not own else "yes" if own[what]["p95"] <= target else "NO"
            line = f"{count:>6}  {what:<28}" + "".join(f"{cell:>20}" for cell in cells)
            sys.stdout.write(f"{line}  {'' if target is None else f'{target:g} {met}'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
