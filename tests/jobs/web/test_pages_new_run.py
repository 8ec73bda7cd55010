"""The form of a new run in a real browser: made from the configuration, planned before it is submitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.dispatch.execute_job import request_of
from jobs.dispatch.job_queue import JobQueue
from jobs.storage.workspace import Workspace
from tests.helpers import write_noise_stream
from tests.jobs.web.browsing import (
    another_entrance,
    by_keys,
    needs_pages,
    opened,
    place_of,
    serious_findings,
    winnow,
)
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_stream(tmp_path_factory.mktemp("frames") / "cam", range(6))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Iterator[ServerProcess]:
    place = place_of(tmp_path_factory, "gate")
    winnow("run", "--workspace", str(place), "--input", str(frames), "--json")
    with server_process(place, pages=True) as found:
        yield found


def new_run(page: Page) -> None:
    page.wait_for_url("**/overview")
    by_keys(page, "j", "jobs")
    expect(page.get_by_role("link", name="New run")).to_be_visible()
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="New run", level=1)).to_be_visible()


def test_a_run_is_filled_in_planned_and_submitted(server: ServerProcess, browser: Browser, frames: Path) -> None:
    workspace = Workspace.at(server.place)
    with opened(browser, another_entrance(server)) as page:
        new_run(page)
        submit = page.get_by_role("button", name="Submit")
        expect(submit).to_be_disabled()
        page.get_by_role("checkbox", name=re.compile("^cam")).check()
        page.get_by_role("searchbox", name="Find a setting").fill("dark_mean")
        field = page.get_by_role("textbox", name="dark_mean")
        expect(field).to_have_value("32")
        field.fill("999")
        expect(page.get_by_text("expected number from 0 to 255, found 999")).to_be_visible()
        page.get_by_role("button", name="Dry run").click()
        # The server's own words are at the field, and what was typed is still there.
        row = page.locator("[data-key='curation.dark_mean']")
        expect(row).to_contain_text("curation.dark_mean: input should be less than or equal to 255, found 999")
        expect(field).to_have_value("999")
        expect(submit).to_be_disabled()
        field.fill("40")
        page.reload()
        page.get_by_role("searchbox", name="Find a setting").fill("dark_mean")
        expect(page.get_by_role("textbox", name="dark_mean")).to_have_value("40")
        expect(page.get_by_role("checkbox", name=re.compile("^cam"))).to_be_checked()
        page.get_by_role("button", name="Dry run").click()
        plan = page.get_by_role("region", name="Dry run")
        curation = plan.get_by_role("row", name=re.compile("^curation"))
        expect(curation).to_contain_text("6 params changed: curation.dark_mean")
        expect(plan.get_by_role("row", name=re.compile("^quality"))).to_contain_text(re.compile(r"quality\s*6\s*0\s*6"))
        expect(plan).to_contain_text(re.compile(r"about [\d.]+ s"))
        assert serious_findings(page) == []
        page.get_by_text("As command and file").click()
        command = f"winnow run --input {frames} --set curation.dark_mean=40"
        expect(page.get_by_text(command, exact=True)).to_be_visible()
        expect(page.get_by_text("curation:\n  dark_mean: 40")).to_be_visible()
        assert JobQueue(workspace.root).live() == [], "a dry run puts nothing into the queue"
        submit.click()
        page.wait_for_url(re.compile(r"/jobs/\d{8}-"))
        expect(page.get_by_role("region", name="About the job")).to_contain_text("pending")
    [job] = JobQueue(workspace.root).live()
    request = request_of(workspace, job)
    assert (list(request.inputs), request.loaded.profile) == ([str(frames)], "quality")
    assert request.loaded.config.curation.dark_mean == 40
    winnow("job", "cancel", job.job_id, "--workspace", str(server.place))


def test_what_the_server_refuses_is_named_and_kept(server: ServerProcess, browser: Browser, frames: Path) -> None:
    with opened(browser, another_entrance(server), viewport={"width": 800, "height": 900}) as page:
        new_run(page)
        inputs = page.get_by_role("textbox", name=re.compile("^Folders and clips"))
        inputs.fill(f"{frames}\n{frames.parent}/nowhere")
        page.get_by_text("Options of the run").click()
        page.get_by_role("textbox", name=re.compile("^Further settings")).fill("curation.dark_meen=3")
        page.get_by_role("textbox", name=re.compile("^Measure at most")).fill("some")
        page.get_by_role("button", name="Dry run").click()
        expect(page.get_by_text("limit: input should be a valid integer")).to_be_visible()
        page.get_by_role("textbox", name=re.compile("^Measure at most")).fill("2")
        page.get_by_role("button", name="Dry run").click()
        expect(
            page.get_by_text("unknown key 'curation.dark_meen' (did you mean 'curation.dark_mean'?)")
        ).to_be_visible()
        expect(page.get_by_role("region", name="Inputs")).to_contain_text("nowhere")
        expect(page.get_by_role("region", name="Inputs").locator(".line")).to_contain_text("nowhere")
        expect(inputs).to_have_value(f"{frames}\n{frames.parent}/nowhere")
        assert serious_findings(page) == []
        page.get_by_role("button", name="Start over").click()
        expect(inputs).to_have_value("")


def test_stages_are_added_and_left_out(server: ServerProcess, browser: Browser, frames: Path) -> None:
    with opened(browser, another_entrance(server)) as page:
        new_run(page)
        page.get_by_role("checkbox", name=re.compile("^cam")).check()
        page.get_by_role("combobox", name="Profile").select_option("annotate")
        stages = page.get_by_role("group", name="Stages")
        expect(stages.get_by_role("checkbox", name=re.compile("^annotate"))).to_be_checked()
        stages.get_by_role("checkbox", name=re.compile("^track")).check()
        page.get_by_text("As command and file").click()
        expect(page.get_by_text(f"winnow run --input {frames} --profile annotate --add-stage track")).to_be_visible()
        stages.get_by_role("checkbox", name=re.compile("^scenes")).uncheck()
        expect(page.get_by_text("--set 'stages=[frames, quality, fingerprints, motion, idle")).to_be_visible()


def test_the_keyboard_alone_is_enough(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server), color_scheme="dark") as page:
        new_run(page)

        def press_until(key: str, wanted: str) -> None:
            for _ in range(80):
                page.keyboard.press(key)
                held = "(document.activeElement.closest('label') ?? document.activeElement).innerText"
                if page.evaluate(held).startswith(wanted):
                    return
            raise AssertionError(f"{wanted} is not reached by {key}")

        expect(page.get_by_role("checkbox", name=re.compile("^cam"))).to_be_visible()
        press_until("Tab", "cam")
        page.keyboard.press("Space")
        page.keyboard.press("d")
        expect(page.get_by_role("region", name="Dry run")).to_contain_text("nothing to compute")
        press_until("Tab", "Submit")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/jobs/\d{8}-"))
        expect(page.get_by_role("region", name="About the job")).to_contain_text("pending")
        press_until("Tab", "Cancel")
        page.keyboard.press("Enter")
        press_until("Tab", "Cancel the job")
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name="About the job")).to_contain_text("cancelled")
