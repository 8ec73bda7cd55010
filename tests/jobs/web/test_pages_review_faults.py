"""Review whose browser is killed while it saves, and the data set that comes of what people approved."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pycocotools.coco import COCO

from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import CHROMIUM, OPTIONS, PATIENCE_MS, needs_pages, winnow
from tests.jobs.web.review_material import (
    add_people,
    annotated,
    frame_of,
    place,
    program,
    saved,
    shown,
    sign_in,
    signed_in,
)
from tests.waiting import wait_until
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
WORK = "/p/street/review/work"
KILLS = 4


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return annotated(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def server(project: Workspace) -> Iterator[ServerProcess]:
    with server_process(Path(project.root), pages=True) as found:
        add_people(found, "street", {"rita": "reviewer", "ann": "annotator"})
        yield found


@contextmanager
def own_browser(profile: Path) -> Iterator[tuple[subprocess.Popen[bytes], Page]]:
    """Start a browser with a profile that outlives it, in a group of processes that can be killed as one."""
    assert CHROMIUM is not None
    # The browser writes there where it listens; what one that was killed left says nothing of this one.
    address = profile / "DevToolsActivePort"
    address.unlink(missing_ok=True)
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: address.exists() and address.read_text(encoding="utf-8").count("\n") > 0)
        port = address.read_text(encoding="utf-8").splitlines()[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", timeout=PATIENCE_MS)
            page = browser.contexts[0].new_page()
            page.set_default_timeout(PATIENCE_MS)
            yield process, page
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_browser_that_is_killed_while_it_saves_loses_no_more_than_the_gesture_in_hand(
    server: ServerProcess, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    pressed = 0
    with program(server, "rita") as client:
        for kills in range(KILLS + 1):
            with own_browser(profile) as (process, page):
                enter(page, server)
                page.goto(f"{server.url}{WORK}?frame=1%40hall")
                shown(page, 1, "hall")
                # What the browsers before left is sent by this one.
                wait_until(partial(has, client, pressed - kills))
                saved(page)
                if kills == KILLS:
                    break
                page.keyboard.press("j")
                for n in range(5 + kills):
                    # All but the gesture in hand are stored.
                    expect(page.locator("[data-waiting]")).to_have_attribute("data-storing", "0")
                    page.keyboard.press("Alt+ArrowLeft" if n % 2 else "Alt+ArrowUp")
                    pressed += 1
                kill(process)
        found = edits(client)
    assert pressed - KILLS <= len(found) <= pressed
    assert len({each["event_id"] for each in found}) == len(found)
    assert sorted(each["revision"] for each in found) == list(range(1, len(found) + 1))


def enter(page: Page, server: ServerProcess) -> None:
    """Sign in: a browser that is killed may have stored its cookies, or not yet."""
    page.context.clear_cookies()
    page.goto(f"{server.url}/sign-in")
    sign_in(page, "rita")
    page.wait_for_url("**/overview")


def edits(client: httpx.Client) -> list[dict[str, Any]]:
    """What people did to the frame; its history begins with how it was before them, at revision 0."""
    answer = client.get("history", params={"stream": "hall", "idx": 1})
    assert answer.status_code == 200, answer.text
    return [each for each in answer.json()["events"] if each["revision"] > 0]


def has(client: httpx.Client, least: int) -> bool:
    return len(edits(client)) >= least


def test_an_export_has_what_was_approved_and_negatives(
    server: ServerProcess, browser: Browser, project: Workspace, tmp_path: Path
) -> None:
    """Last in this file: the server is stopped, which publishes what was done."""
    with signed_in(browser, server, "rita", f"{WORK}?frame=3%40hall") as page:
        shown(page, 3, "hall")
        page.mouse.click(*place(page, 250, 150))
        page.keyboard.press("r")
        page.keyboard.press("Enter")
        for idx in (4, 5):
            page.goto(f"{server.url}{WORK}?frame={idx}%40hall")
            shown(page, idx, "hall")
            page.keyboard.press("n" if idx == 4 else "Enter")
        expect(page.locator("[data-waiting]")).to_be_visible()
        saved(page)
    with signed_in(browser, server, "ann", f"{WORK}?frame=6%40hall") as page:
        # Submitted and not approved: it is not exported.
        shown(page, 6, "hall")
        page.keyboard.press("Enter")
        saved(page)
    with program(server, "rita") as client:
        states = {idx: frame_of(client, "hall", idx)["state"] for idx in range(3, 7)}
        assert states == {3: "approved", 4: "approved", 5: "approved", 6: "submitted"}
    assert server.stop()[0] == 0
    out = tmp_path / "coco"
    winnow(
        "export", "--workspace", str(project.root), "--format", "coco", "--out", str(out), "--all", "--only-reviewed"
    )
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in out.rglob("*.json")}
    [labels] = [path for path, read in files.items() if {"images", "annotations", "categories"} <= set(read)]
    coco = COCO(str(labels))
    names = {each["id"]: each["name"] for each in files[labels]["categories"]}
    found = {}
    for about in coco.loadImgs(coco.getImgIds()):
        objects = coco.loadAnns(coco.getAnnIds(imgIds=[about["id"]]))
        idx = int(about["file_name"].rpartition(".")[0].rpartition("_")[2])
        found[idx] = sorted((names[each["category_id"]], [round(v) for v in each["bbox"]]) for each in objects)
    assert found == {
        3: [("car", [40, 40, 80, 60])],
        4: [],
        5: [("bus", [200, 120, 120, 80]), ("car", [40, 40, 80, 60])],
    }
