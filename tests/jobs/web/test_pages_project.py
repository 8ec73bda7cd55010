"""The pages of a project on real tables and real frames, in a real browser: why a frame was dropped, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.jobs.web.browsing import another_entrance, chromium, needs_pages, opened, serious_findings
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
PLACED = "() => [...document.querySelectorAll('.image img')].every(each => each.complete)"


@pytest.fixture(scope="module")
def server(sample_tables: Workspace) -> Iterator[ServerProcess]:
    with server_process(Path(str(sample_tables.root)), pages=True) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def frames_page(page: Page, server: ServerProcess, query: str = "") -> None:
    page.wait_for_url("**/overview")
    page.goto(f"{server.url}/p/{server.place.name}/frames{query}")
    expect(page.get_by_role("option").first).to_be_visible()


def test_counts_lead_to_the_frames_that_they_count(
    server: ServerProcess, browser: Browser, sample_tables: Workspace
) -> None:
    rows = View.of(sample_tables).lazy("curation").collect()
    dropped = rows.height - int(rows["keep"].sum())
    dark = sum("dark" in each for each in rows["reasons"].to_list())
    assert 0 < dark < dropped < rows.height
    with opened(browser, another_entrance(server)) as page:
        counts = page.get_by_role("region", name="Counts")
        expect(counts).to_contain_text(str(rows.height))
        reasons = page.get_by_role("region", name="Reasons")
        expect(reasons.get_by_role("listitem").filter(has_text="dark")).to_contain_text(str(dark))
        counts.get_by_role("link", name=str(dropped), exact=True).click()
        page.wait_for_url("**/frames?keep=dropped")
        expect(page.get_by_role("status").filter(has_text=f"{dropped} frames")).to_be_visible()
        page.get_by_role("region", name="Filters").get_by_role("button", name=re.compile("dark")).click()
        expect(page.get_by_role("status").filter(has_text=f"{dark} frames")).to_be_visible()
        page.get_by_role("option").first.click()
        panel = page.get_by_role("complementary", name=re.compile("^Frame "))
        expect(panel).to_contain_text("Dropped")
        expect(panel).to_contain_text(re.compile(r"dark.*\d"))


def test_the_timeline_shows_the_frame_under_the_cursor(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        place = page.get_by_role("slider").first
        place.scroll_into_view_if_needed()
        place.focus()
        page.keyboard.press("Home")
        shown = page.locator("figure.scrub")
        expect(shown.get_by_role("img")).to_have_attribute("src", re.compile("idx=0&"))
        expect(place).to_have_attribute("aria-valuetext", re.compile("^frame 0 · "))
        page.keyboard.press("ArrowRight")
        expect(place).to_have_attribute("aria-valuetext", re.compile("^frame 1 · "))
        width = shown.get_by_role("img").evaluate("image => image.naturalWidth")
        assert width == 320
        page.keyboard.press("Enter")
        page.wait_for_url("**/frames?*frame=1%40*")


def test_a_condition_chooses_frames_and_a_wrong_one_is_explained(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        frames_page(page, server)
        page.keyboard.press("/")
        page.keyboard.type("frame_idx < 5")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="5 frames")).to_be_visible()
        expect(page.get_by_role("option")).to_have_count(5)
        box = page.get_by_role("searchbox", name="Condition in SQL")
        box.fill("no_such_column > 1")
        box.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("no_such_column")
        expect(box).to_have_value("no_such_column > 1")
        page.get_by_role("button", name="Clear filters").click()
        expect(page.get_by_role("option").nth(5)).to_be_visible()


def test_keys_go_from_frame_to_frame(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        frames_page(page, server)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        panel = page.get_by_role("complementary", name=re.compile("^Frame 1 of"))
        expect(panel).to_be_visible()
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("complementary", name=re.compile("^Frame 0 of"))).to_be_visible()
        page.keyboard.press(".")
        expect(panel).to_be_visible()
        page.keyboard.press("Escape")
        expect(panel).to_have_count(0)
        assert "frame=" not in page.url


def test_scrolling_adds_no_elements_and_reaches_the_last_frame(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server), viewport={"width": 700, "height": 500}) as page:
        frames_page(page, server)
        tiles = page.get_by_role("option")
        total = int(tiles.first.get_attribute("aria-setsize") or 0)
        before = tiles.count()
        assert before < total
        counts = set()
        scroller = page.get_by_role("listbox", name="Frames")
        for part in (0.2, 0.5, 0.8, 1.0):
            scroller.evaluate(f"list => list.scrollTop = {part} * list.scrollHeight")
            page.wait_for_function(PLACED)
            counts.add(tiles.count())
        expect(page.locator(f"[role=option][aria-posinset='{total}']")).to_be_visible()
        # The last row may be shorter than the others.
        assert max(counts) <= before
        assert min(counts) > before - 4


def test_duplicates_are_compared_side_by_side(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        frames_page(page, server, "?reason=near_duplicate")
        page.get_by_role("option").first.click()
        panel = page.get_by_role("complementary", name=re.compile("^Frame "))
        panel.locator(".members button:not([disabled])").first.click()
        expect(panel.locator("figure")).to_have_count(2)
        panel.get_by_role("button", name=re.compile("^Go to")).click()
        expect(panel.locator("figure")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(server: ServerProcess, browser: Browser, scheme: str) -> None:
    with opened(browser, another_entrance(server), color_scheme=scheme) as page:
        expect(page.get_by_role("slider").first).to_be_visible()
        found = {"overview": serious_findings(page)}
        frames_page(page, server)
        found["frames"] = serious_findings(page)
        page.get_by_role("option").first.click()
        expect(page.get_by_role("heading", name="frames", exact=True)).to_be_visible()
        found["frame"] = serious_findings(page)
    assert {place: each for place, each in found.items() if each} == {}
