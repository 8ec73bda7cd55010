"""Thresholds in a real browser: a slider moves, the frames that would change are shown, and a replay does just that."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from jobs.dispatch.execute_job import request_of
from jobs.dispatch.job_queue import JobQueue
from jobs.runs.run import run
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, write_pictures
from tests.jobs.web.browsing import by_keys, entrance, needs_pages, opened, place_of, serious_findings
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
N = 16


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Frames that get darker and darker."""
    images = [(noise(n) * (1 - n / N)).astype(np.uint8) for n in range(N)]
    found = Workspace.at(place_of(tmp_path_factory, "dusk"))
    go(found, write_pictures(tmp_path_factory.mktemp("cam"), images), settings=("curation.ignore=[blurry]",))
    return found


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[ServerProcess]:
    with server_process(place.folder, pages=True) as found:
        yield found


def kept(place: Workspace) -> set[int]:
    return {row["frame_idx"] for row in View.of(place).sql("SELECT frame_idx FROM curation WHERE keep").to_pylist()}


def test_a_threshold_is_moved_seen_and_applied(place: Workspace, server: ServerProcess, browser: Browser) -> None:
    before = kept(place)
    with opened(browser, entrance(server)) as page:
        page.wait_for_url("**/overview")
        by_keys(page, "t", "thresholds")
        effects = page.get_by_label("What would change")
        expect(effects).to_contain_text(f"kept now{len(before)}")
        page.get_by_role("spinbutton", name="dark mean").fill("70")
        page.keyboard.press("Enter")
        page.wait_for_url("**set=curation.dark_mean%3D70**")
        heading = page.get_by_role("heading", name=re.compile(r"frames? changes?$"))
        expect(heading).to_be_visible()
        dropped = int(heading.inner_text().split()[0])
        assert 0 < dropped < len(before)
        expect(page.get_by_text("\u2212 dropped", exact=True)).to_have_count(dropped)
        shown = {int(text.split()[-1]) for text in page.locator(".sheet .about > .clip").all_inner_texts()}
        assert serious_findings(page) == []
        page.get_by_role("button", name="Apply as a run").click()
        page.wait_for_url("**/jobs/**")
        job_id = page.url.partition("?")[0].rpartition("/")[2]
        expect(page.get_by_text(job_id).first).to_be_visible()
    [job] = JobQueue(place.root).live()
    assert job.job_id == job_id
    assert run(request_of(place, job)).state == "done"
    assert before - kept(place) == shown
    assert len(shown) == dropped


def test_what_was_moved_is_in_the_address_and_taken_back(
    place: Workspace, server: ServerProcess, browser: Browser
) -> None:
    with opened(browser, entrance(server), color_scheme="dark", viewport={"width": 800, "height": 900}) as page:
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/p/dusk/thresholds?set=curation.overexposed_mean%3D20")
        expect(page.get_by_role("spinbutton", name="overexposed mean")).to_have_value("20")
        page.get_by_role("button", name="Reset").click()
        expect(page.get_by_role("spinbutton", name="overexposed mean")).to_have_value("225")
        expect(page.get_by_text("Move a threshold")).to_be_visible()
        page.get_by_role("spinbutton", name="dark p95").fill("900")
        page.keyboard.press("Enter")
        expect(page.get_by_text("curation.dark_p95: input should be less than or equal to 255")).to_be_visible()
        assert serious_findings(page) == []
