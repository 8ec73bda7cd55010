"""A real browser in front of a real server, for tests of the pages; skipped where one of them is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TookTooLong

from jobs.web.version import STATIC
from tests.reference import ROOT
from tests.web_process import ServerProcess

# A machine that does other work, too, may take long for a page.
PATIENCE_MS = 300_000
_AGAIN_MS = 5_000
CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
_MOST_SHOWN = 500
_AXE = ROOT / "jobs/web/ui/node_modules/axe-core/axe.min.js"
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
# Missing fonts and sessions that are over are part of what is tested; what the policy refuses is not.
_EXPECTED = "Failed to load resource"

expect.set_options(timeout=PATIENCE_MS)

needs_pages = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not (STATIC / "index.html").exists(), reason="the pages are not built: run `make ui`"),
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser with a profile of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS, timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """Open an address as somebody with a browser of their own; nothing that they see may go wrong in the console."""
    context: BrowserContext = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and _EXPECTED not in message.text:
            wrong.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        page.goto(url)
        yield page
        assert wrong == []
    except Error as error:
        # What was seen instead says more than what was awaited.
        error.add_note(f"{page.url} shows: {page.inner_text('body')[:_MOST_SHOWN]!r}; in the console: {wrong}")
        raise
    finally:
        context.close()


def by_keys(page: Page, letter: str, name: str) -> None:
    """Go to a page by `g` and its letter, which have to follow on one another: once more where the machine was slow."""
    while True:
        page.keyboard.press("g")
        page.keyboard.press(letter)
        try:
            page.wait_for_url(f"**/{name}**", timeout=_AGAIN_MS)
        except TookTooLong:
            continue
        return


def entrance(server: ServerProcess) -> str:
    """Return the one-time address of a server's terminal."""
    token, server.entrance = server.entrance, None
    return f"{server.url}/enter#{token}" if token else another_entrance(server)


def another_entrance(server: ServerProcess) -> str:
    """Return one more one-time address."""
    return winnow("serve", "--workspace", str(server.place), "--address")


def winnow(*arguments: str) -> str:
    """Run a command of ours and return what it printed."""
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def serious_findings(page: Page) -> list[str]:
    """Return what axe-core finds on a page that keeps people out: serious and critical findings, with their places."""
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: run `make ui-test`")
    # Given to the page by the browser, which the policy for pages does not hold for.
    page.evaluate(_AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {json.dumps([node['html'][:160] for node in each['nodes'][:3]])}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def place_of(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """Return the folder of a new workspace, whose name is that of its project."""
    return tmp_path_factory.mktemp("served") / name
