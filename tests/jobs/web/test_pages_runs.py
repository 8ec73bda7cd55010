"""Runs in a real browser, with a real gateway: a threshold becomes a run, seen live, found in the tree, undone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.records.job_log import JobLog
from jobs.records.journal import Journal
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, noise, write_pictures
from tests.jobs.web.browsing import another_entrance, needs_pages, opened, place_of, serious_findings, winnow
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
N = 16
LINES = 200_000
LONG = "20260101-000000-0000001"


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames that get darker and darker."""
    images = [(noise(n) * (1 - n / N)).astype(np.uint8) for n in range(N)]
    return write_pictures(tmp_path_factory.mktemp("cam"), images)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Workspace:
    found = Workspace.at(place_of(tmp_path_factory, "dawn"))
    go(found, frames, settings=("curation.ignore=[blurry]",))
    return found


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[ServerProcess]:
    with server_process(place.folder, pages=True) as found:
        yield found
        winnow("gateway", "stop", "--workspace", str(place.folder))


def kept(place: Workspace) -> set[int]:
    return {row["frame_idx"] for row in View.of(place).sql("SELECT frame_idx FROM curation WHERE keep").to_pylist()}


def with_gateway(page: Page, server: ServerProcess) -> None:
    """Have a gateway run, started on the page if there is none."""
    page.wait_for_url("**/overview")
    page.goto(f"{server.url}/p/dawn/jobs")
    region = page.get_by_role("region", name="Gateway")
    expect(region).to_contain_text(re.compile("gateway runs"))
    if region.get_by_role("button", name="Start gateway").count():
        region.get_by_role("button", name="Start gateway").click()
    expect(region).to_contain_text("The gateway runs queued jobs")


def about(page: Page) -> object:
    return expect(page.get_by_role("region", name="About the job"))


def test_a_threshold_is_applied_followed_found_in_the_tree_and_undone(
    place: Workspace, server: ServerProcess, browser: Browser
) -> None:
    before = kept(place)
    with opened(browser, another_entrance(server)) as page:
        with_gateway(page, server)
        page.goto(f"{server.url}/p/dawn/thresholds?set=curation.dark_mean%3D70")
        heading = page.get_by_role("heading", name=re.compile(r"frames? changes?$"))
        expect(heading).to_be_visible()
        n_dropped = int(heading.inner_text().split()[0])
        page.evaluate("window.here = true")
        page.get_by_role("button", name="Apply as a run").click()
        page.wait_for_url(re.compile(r"/jobs/\d{8}-"))
        child = re.findall(r"/jobs/([^?]+)", page.url)[0]
        changes = page.get_by_role("region", name="What it changes")
        expect(changes).to_contain_text("curation.dark_mean 32 → 70")
        expect(changes).to_contain_text(f"{n_dropped} frames dropped in addition")
        expect(changes).to_contain_text("✓ as previewed")
        assert page.evaluate("window.here"), "the page was not loaded again while the run was followed"
        assert len(before - kept(place)) == n_dropped
        assert serious_findings(page) == []
        changes.get_by_role("link", name="See the frames").click()
        expect(page.get_by_role("heading", name=f"{n_dropped} frames changed sides")).to_be_visible()
        expect(page.locator(".sheet li")).to_have_count(n_dropped)
        shown = {int(text.split()[-1]) for text in page.locator(".sheet .about > .clip").all_inner_texts()}
        assert shown == before - kept(place)
        assert serious_findings(page) == []
        page.get_by_role("link", name="Runs", exact=True).click()
        row = page.get_by_role("row", name=re.compile(child))
        expect(row).to_contain_text("curation.dark_mean 32 → 70")
        expect(row).to_contain_text("current")
        expect(row).to_contain_text(f"\u2212{n_dropped}")
        assert serious_findings(page) == []
        row.get_by_role("link", name=child).click()
        page.get_by_role("button", name="Undo by a replay").click()
        page.wait_for_url(lambda url: "/jobs/" in url and child not in url)
        about(page).to_contain_text("done")  # type: ignore[attr-defined]
        assert kept(place) == before
        page.get_by_role("link", name="Jobs", exact=True).first.click()
        page.get_by_role("link", name="Runs", exact=True).click()
        boxes = page.get_by_role("checkbox", name=re.compile("^Compare"))
        expect(boxes).to_have_count(3)
        for n in range(2):
            boxes.nth(n).check()
        page.get_by_role("button", name="Compare the two chosen").click()
        expect(page.get_by_role("region", name="Differences")).to_be_visible()


def test_a_job_pauses_from_the_page_and_resumes_from_the_command_line_and_the_other_way_round(
    place: Workspace, server: ServerProcess, browser: Browser, frames: Path
) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        winnow("gateway", "stop", "--workspace", str(place.folder))
        printed = winnow("submit", "--workspace", str(place.folder), "--input", str(frames), "--set", "idle.window=7")
        job = re.findall(r"\d{8}-\d{6}-[0-9a-f]{7}", printed)[0]
        page.goto(f"{server.url}/p/dawn/jobs/{job}")
        about(page).to_contain_text("pending")  # type: ignore[attr-defined]
        page.get_by_role("button", name="Pause", exact=True).click()
        about(page).to_contain_text("paused")  # type: ignore[attr-defined]
        winnow("job", "resume", job, "--workspace", str(place.folder))
        about(page).to_contain_text("pending")  # type: ignore[attr-defined]
        winnow("job", "pause", job, "--workspace", str(place.folder))
        about(page).to_contain_text("paused")  # type: ignore[attr-defined]
        page.get_by_role("button", name="Step").click()
        about(page).to_contain_text("pending")  # type: ignore[attr-defined]
        winnow("gateway", "start", "--workspace", str(place.folder))
        # One step, all stages that read pixels, and it waits again; the journal has grown on the page.
        about(page).to_contain_text("paused")  # type: ignore[attr-defined]
        expect(page.get_by_role("log", name="Journal")).to_contain_text("run paused")
        winnow("job", "resume", job, "--workspace", str(place.folder))
        about(page).to_contain_text("done")  # type: ignore[attr-defined]
        assert [record.word for record in JobLog(place.root, job).records()][:5] == [
            *("submitted", "pause", "resume", "pause", "step")
        ]


def test_a_run_is_replayed_by_the_form_and_what_is_refused_is_named(
    place: Workspace, server: ServerProcess, browser: Browser
) -> None:
    with opened(browser, another_entrance(server), viewport={"width": 800, "height": 1000}) as page:
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/p/dawn/jobs/runs")
        page.get_by_role("row", name=re.compile("quality")).first.get_by_role("link").click()
        page.get_by_text("Replay", exact=True).click()
        page.get_by_role("searchbox", name="Find a setting").fill("idle.threshold")
        page.get_by_role("textbox", name="threshold", exact=True).fill("0.2")
        page.get_by_role("button", name="Replay", exact=True).click()
        refused = "--set idle.threshold changes stage idle, which is above --from curation; use --from idle"
        expect(page.locator("[data-key='idle.threshold']")).to_contain_text(refused)
        page.get_by_role("combobox", name="From stage").select_option("idle")
        page.get_by_role("checkbox", name="becomes the current version").uncheck()
        assert serious_findings(page) == []
        page.get_by_role("button", name="Replay", exact=True).click()
        page.wait_for_url(re.compile(r"/jobs/\d{8}-"))
        changes = page.get_by_role("region", name="What it changes")
        expect(changes).to_contain_text("It replays from idle of")
        expect(changes).to_contain_text("the current version stays")


def test_schedules_are_made_run_and_removed(server: ServerProcess, browser: Browser, frames: Path) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/p/dawn/jobs/schedules")
        expect(page.get_by_text("There are no schedules.")).to_be_visible()
        page.get_by_role("link", name="New run").first.click()
        page.get_by_role("checkbox", name=re.compile(r"^cam")).first.check()
        page.get_by_text("Keep as a schedule").click()
        page.get_by_role("textbox", name="Name", exact=True).fill("nightly")
        page.get_by_role("textbox", name=re.compile("^When")).fill("at night")
        page.get_by_role("button", name="Keep the schedule").click()
        expect(page.locator("form .line")).to_contain_text("at night")
        page.get_by_role("textbox", name=re.compile("^When")).fill("0 2 * * *")
        page.get_by_role("button", name="Keep the schedule").click()
        page.wait_for_url("**/jobs/schedules")
        row = page.get_by_role("row", name=re.compile("nightly"))
        expect(row).to_contain_text("0 2 * * *")
        assert serious_findings(page) == []
        assert "nightly" in winnow("schedule", "list", "--workspace", str(server.place))
        row.get_by_role("button", name="Run now").click()
        page.wait_for_url(re.compile(r"/jobs/\d{8}-"))
        page.goto(f"{server.url}/p/dawn/jobs/schedules")
        row.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove the schedule").click()
        expect(page.get_by_text("There are no schedules.")).to_be_visible()


@pytest.fixture(scope="module")
def long_job(place: Workspace) -> str:
    """A job that is over, with a long journal."""
    log = JobLog(place.root, LONG)
    log.add("started", {"process": {}})
    journal = Journal.of(place.root, LONG)
    journal.write("run_started", frames=64 * LINES)
    for n in range(LINES - 3):
        journal.write("block_done", stage="quality", frames=64, rows=64, first_idx=64 * n)
    journal.write("frames_set_aside", stage="quality", frames=1, error="OSError: a needle")
    journal.write("run_failed", error="no space left")
    journal.close()
    log.add("failed", {"error": "no space left"})
    return LONG


def test_a_journal_of_200_000_lines_is_read_searched_and_filtered(
    server: ServerProcess, browser: Browser, long_job: str
) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/p/dawn/jobs/{long_job}")
        log = page.get_by_role("log", name="Journal")
        expect(page.get_by_text("200,000 lines", exact=True)).to_be_visible()
        # It follows the end; only what is in view is in the document.
        expect(log).to_contain_text("run failed")
        assert 0 < log.locator(".row").count() < 60
        log.focus()
        page.keyboard.press("Home")
        expect(log).to_contain_text("run started")
        expect(log.locator(".row").first).to_be_visible()
        log.evaluate("node => { node.scrollTop = node.scrollHeight / 2; }")
        expect(log).to_contain_text("first idx 6,399,")
        page.get_by_role("combobox", name="Level").select_option("warning")
        expect(page.get_by_text("2 of 200,000 lines")).to_be_visible()
        page.get_by_role("searchbox", name="Search the journal").fill("NEEDLE")
        expect(page.get_by_text("1 of 200,000 lines")).to_be_visible()
        expect(log).to_contain_text("OSError: a needle")
        page.get_by_role("combobox", name="Level").select_option("detail")
        page.get_by_role("searchbox", name="Search the journal").fill('first_idx": 64000}')
        expect(page.get_by_text("1 of 200,000 lines")).to_be_visible()
        page.get_by_role("searchbox", name="Search the journal").fill("")
        page.get_by_role("combobox", name="Stage").select_option("quality")
        expect(page.get_by_text("199,998 of 200,000 lines")).to_be_visible()
        assert serious_findings(page) == []
