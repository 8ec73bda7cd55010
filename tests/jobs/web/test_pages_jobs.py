"""The pages of jobs, in a real browser: what the command line does shows there, and the other way round."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.records.job_log import JobLog
from jobs.storage.workspace import Workspace
from tests.helpers import write_noise_stream
from tests.jobs.web.browsing import another_entrance, needs_pages, opened, place_of, serious_findings, winnow
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_stream(tmp_path_factory.mktemp("frames") / "cam", range(8))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Iterator[ServerProcess]:
    place = place_of(tmp_path_factory, "hall")
    winnow("run", "--workspace", str(place), "--input", str(frames), "--json")
    with server_process(place, pages=True) as found:
        yield found


def submitted(server: ServerProcess, frames: Path) -> str:
    found = winnow("submit", "--workspace", str(server.place), "--input", str(frames), "--json")
    job: str = json.loads(found.splitlines()[-1])["job_id"]
    return job


def state_of(server: ServerProcess, job: str) -> str:
    state = JobLog(Workspace.at(server.place).root, job).state()
    assert state is not None
    return state.state


def jobs_page(page: Page) -> None:
    page.wait_for_url("**/overview")
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()


def test_what_the_command_line_does_shows_without_asking(server: ServerProcess, browser: Browser, frames: Path) -> None:
    with opened(browser, another_entrance(server)) as page:
        jobs_page(page)
        page.evaluate("window.here = true")
        job = submitted(server, frames)
        row = page.get_by_role("row", name=re.compile(job))
        expect(row).to_contain_text("pending")
        winnow("job", "pause", job, "--workspace", str(server.place))
        expect(row).to_contain_text("paused")
        assert page.evaluate("window.here"), "the page was not loaded again"


def test_what_the_page_does_the_command_line_sees(server: ServerProcess, browser: Browser, frames: Path) -> None:
    job = submitted(server, frames)
    with opened(browser, another_entrance(server)) as page:
        jobs_page(page)
        row = page.get_by_role("row", name=re.compile(job))
        row.get_by_role("button", name="Pause").click()
        expect(row).to_contain_text("paused")
        assert state_of(server, job) == "paused"
        row.get_by_role("link", name=job).click()
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("region", name="About the job")).to_contain_text("pending")
        assert state_of(server, job) == "pending"
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
        expect(page.get_by_role("region", name="About the job")).to_contain_text("cancelled")
        assert state_of(server, job) == "cancelled"
        page.get_by_role("button", name="Clear").click()
        page.get_by_role("dialog").get_by_role("button", name="Clear the job").click()
        page.wait_for_url("**/jobs")
        expect(page.get_by_role("row", name=re.compile(job))).to_have_count(0)


def test_a_run_shows_its_stages_and_its_journal(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        jobs_page(page)
        page.get_by_role("row", name=re.compile("done")).first.get_by_role("link").first.click()
        stages = page.get_by_role("region", name="Stages")
        expect(stages.get_by_role("row", name=re.compile("quality"))).to_contain_text("8")
        journal = page.get_by_role("log", name="Journal")
        expect(journal).to_contain_text("run done")
        page.get_by_text("Configuration").click()
        expect(page.get_by_role("heading", name="curation", exact=True)).to_be_visible()
        assert serious_findings(page) == []


def test_who_may_only_read_has_no_buttons(server: ServerProcess, browser: Browser, frames: Path) -> None:
    job = submitted(server, frames)
    with opened(browser, another_entrance(server)) as admin:
        admin.wait_for_url("**/overview")
        admin.goto(f"{server.url}/admin/invitations")
        admin.get_by_label("Role").select_option("viewer")
        admin.get_by_role("button", name="Invite").click()
        field = admin.get_by_role("textbox", name="Address")
        expect(field).to_have_value(re.compile("/invite#."))
        address = field.input_value()
    with opened(browser, address) as page:
        page.get_by_label("Name, to sign in with").fill("reader")
        page.get_by_label(re.compile("^Password")).fill("a sound of many waters")
        page.get_by_role("button", name="Create account").click()
        jobs_page(page)
        row = page.get_by_role("row", name=re.compile(job))
        expect(row).to_contain_text("pending")
        expect(row.get_by_role("button")).to_have_count(0)
        status = page.evaluate(
            "job => fetch(`/api/v1/projects/hall/jobs/${job}/cancel`, {method: 'POST', body: '{}',"
            " headers: {'content-type': 'application/json'}}).then(answer => answer.status)",
            job,
        )
        assert status == 403
        assert state_of(server, job) == "pending"


def test_tabs_of_a_browser_share_one_stream_of_events(server: ServerProcess, browser: Browser, frames: Path) -> None:
    with opened(browser, another_entrance(server)) as first:
        jobs_page(first)
        context = first.context
        streams: list[str] = []
        context.on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)
        second = context.new_page()
        second.goto(first.url)
        expect(second.get_by_role("status").filter(has_text="live")).to_be_visible()
        job = submitted(server, frames)
        expect(second.get_by_role("row", name=re.compile(job))).to_contain_text("pending")
        assert streams == [], "the second tab hears of it from the first"
        first.close()
        expect(second.get_by_role("status").filter(has_text="live")).to_be_visible()
        other = submitted(server, frames)
        expect(second.get_by_role("row", name=re.compile(other))).to_contain_text("pending")
        assert len(streams) == 1, "the tab that is left listens itself"
