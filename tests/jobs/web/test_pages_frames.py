"""Overview, frames, frame and map in a real browser: why a frame was dropped, decisions by hand, areas of the map."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go
from tests.jobs.web.browsing import by_keys, entrance, needs_pages, opened, place_of, serious_findings
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Workspace:
    """A stream with every flaw."""
    found = Workspace.at(place_of(tmp_path_factory, "ground"))
    go(found, sample_folder)
    return found


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[ServerProcess]:
    with server_process(place.folder, pages=True) as found:
        yield found


def _sql(place: Workspace, query: str) -> list[dict[str, Any]]:
    return View.of(place).sql(query).to_pylist()


def _tiles(page: Page, name: str | None = None) -> Locator:
    return page.get_by_role("listbox", name="Frames").get_by_role("option", name=name, exact=name is not None)


def _frames(page: Page) -> None:
    """Go to the frames by keys, and wait for the grid."""
    page.wait_for_url("**/overview")
    by_keys(page, "f", "frames")
    _tiles(page).first.wait_for()


def test_why_a_frame_was_dropped_is_found_by_keys_alone(
    place: Workspace, server: ServerProcess, browser: Browser
) -> None:
    rows = _sql(
        place, "SELECT frame_idx, luma_mean FROM curated WHERE list_contains(reasons, 'dark') ORDER BY frame_idx"
    )
    with opened(browser, entrance(server)) as page:
        _frames(page)
        filters = page.get_by_role("region", name="Filters")
        dark = filters.get_by_role("button", name="dark")
        dark.wait_for()
        for _ in range(60):
            page.keyboard.press("Tab")
            if dark.evaluate("each => each === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text=re.compile("frames?$"))).to_have_text(f"{len(rows)} frames")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        wanted = rows[1]
        frame = page.get_by_role("complementary", name=f"Frame {wanted['frame_idx']} of cam")
        expect(frame).to_contain_text("Dropped")
        expect(frame).to_contain_text(f"mean luma is {wanted['luma_mean']:.3g}, below 32 (curation.dark_mean)")
        # Every value has its unit.
        expect(frame.get_by_text("luma 0..255").first).to_be_visible()
        page.keyboard.press("Escape")
        expect(frame).to_have_count(0)


def test_several_values_of_a_kind_are_alternatives(place: Workspace, server: ServerProcess, browser: Browser) -> None:
    either = "list_has_any(reasons, ['dark', 'blurry'])"
    (n,) = _sql(place, f"SELECT count(*) AS n FROM curated WHERE {either}")
    with opened(browser, entrance(server)) as page:
        _frames(page)
        filters = page.get_by_role("region", name="Filters")
        filters.get_by_role("button", name="dark").click()
        filters.get_by_role("button", name="blurry").click()
        expect(page.get_by_text(f"{n['n']} frames", exact=True)).to_be_visible()
        assert page.url.endswith("reason=dark&reason=blurry")
        # What nothing is known of names the stage that finds it out.
        filters.get_by_text("Not known yet").click()
        expect(filters).to_contain_text("--add-stage caption")


def test_frames_are_dropped_and_kept_by_keys_and_that_is_undone(
    place: Workspace, server: ServerProcess, browser: Browser
) -> None:
    first = _sql(place, "SELECT frame_idx FROM curated WHERE keep ORDER BY frame_idx LIMIT 3")
    chosen = [row["frame_idx"] for row in first]

    def verdicts() -> list[Any]:
        rows = _sql(place, f"SELECT keep, reasons FROM curated WHERE frame_idx IN {tuple(chosen)} ORDER BY frame_idx")
        return [(row["keep"], row["reasons"]) for row in rows]

    with opened(browser, entrance(server)) as page:
        _frames(page)
        page.get_by_role("region", name="Filters").get_by_role("button", name="kept").click()
        page.wait_for_url("**keep=kept")
        _tiles(page, name=f"{chosen[0]} cam, kept").wait_for()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("x")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        bar = page.get_by_role("group", name="Picked frames")
        expect(bar).to_contain_text("3 frames picked")
        bar.get_by_label("Why").fill("a hand is in front")
        bar.get_by_role("button", name="Drop").click()
        expect(page.get_by_text("3 frames dropped by hand (z undoes it)")).to_be_visible()
        expect(_tiles(page, name=f"{chosen[0]} cam, dropped: by hand")).to_be_visible()
        assert verdicts() == [(False, ["by_hand"])] * 3
        rows = _sql(place, "SELECT frame_idx, decision, author, note FROM overrides ORDER BY frame_idx")
        assert [(row["frame_idx"], row["decision"], row["note"]) for row in rows] == [
            (idx, "drop", "a hand is in front") for idx in chosen
        ]
        # The frame itself says who and why, and its key turns it round.
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        frame = page.get_by_role("complementary")
        expect(frame).to_contain_text(": a hand is in front")
        page.keyboard.press("w")
        expect(frame).to_contain_text("kept: ")
        assert verdicts()[2] == (True, [])
        page.keyboard.press("z")
        expect(frame).to_contain_text("by_hand: ")
        page.keyboard.press("Escape")
        page.keyboard.press("z")
        expect(page.get_by_text("Undone: 3 frames", exact=True)).to_be_visible()
        assert verdicts() == [(True, [])] * 3
        assert _sql(place, "SELECT * FROM overrides") == []


def test_an_area_of_the_map_is_a_filter_of_the_frames(
    place: Workspace, server: ServerProcess, browser: Browser
) -> None:
    (known,) = _sql(place, "SELECT count(*) AS n FROM frames WHERE status = 'ok'")
    with opened(browser, entrance(server), viewport={"width": 1440, "height": 900}) as page:
        page.wait_for_url("**/overview")
        by_keys(page, "p", "map")
        plane = page.get_by_role("img", name=re.compile("^Map of"))
        expect(page.get_by_text(f"{known['n']} frames by their layout")).to_be_visible()
        # It stands below the plane, which is smaller from then on.
        page.get_by_role("group", name=re.compile("^Colours by")).wait_for()
        box = plane.bounding_box()
        assert box is not None
        page.keyboard.press("l")
        corners = [(0.1, 0.1), (0.1, 0.9), (0.5, 0.9), (0.5, 0.1), (0.1, 0.1)]
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        page.mouse.move(*places[0])
        page.mouse.down()
        for at in places[1:]:
            page.mouse.move(*at, steps=8)
        page.mouse.up()
        page.wait_for_url("**area=layout**")
        status = page.get_by_role("status").filter(has_text=re.compile("frames?$"))
        expect(status).not_to_have_text(re.compile(f"^{known['n']} "))
        said = status.inner_text()
        chosen = int(said.split()[0])
        assert 0 < chosen < known["n"]
        page.get_by_role("link", name="Open in Frames").click()
        page.wait_for_url("**/frames?area=layout**")
        expect(page.get_by_text(said, exact=True)).to_be_visible()
        # What is in view is chosen by a key; colours and single values by theirs.
        page.go_back()
        page.keyboard.press("Escape")
        expect(status).to_have_text(re.compile(r"^\d+ frames$"))
        page.get_by_role("combobox", name=re.compile("^Colour")).select_option("reasons")
        legend = page.get_by_role("group", name="Colours by reasons")
        legend.get_by_role("button", name="dark").click()
        expect(legend.get_by_role("button", name="dark")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("s")
        page.wait_for_url("**area=layout**")


def test_the_frame_under_the_cursor_of_a_timeline_is_shown(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, entrance(server)) as page:
        page.wait_for_url("**/overview")
        slider = page.get_by_role("slider", name="Position in cam")
        slider.hover()
        expect(page.get_by_role("img", name=re.compile(r"^Frame \d+ of cam$"))).to_be_visible()
        slider.focus()
        page.keyboard.press("End")
        page.keyboard.press("Enter")
        page.wait_for_url("**/frames?*frame=126%40cam*")
        expect(page.get_by_role("complementary", name="Frame 126 of cam")).to_be_visible()


def test_a_cursor_that_is_there_before_the_timeline_is_counts(server: ServerProcess, browser: Browser) -> None:
    asked: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route)

    with opened(browser, entrance(server)) as page:
        page.wait_for_url("**/overview")
        slider = page.get_by_role("slider", name="Position in cam")
        slider.wait_for()
        page.route("**/timeline?*", hold)
        with page.expect_request("**/timeline?*"):
            page.reload()
        slider.hover()
        expect(slider).to_have_attribute("aria-valuetext", "no position chosen")
        for each in asked:
            each.continue_()
        expect(page.get_by_role("img", name=re.compile(r"^Frame \d+ of cam$"))).to_be_visible()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1440, 800])
def test_nothing_keeps_people_out(server: ServerProcess, browser: Browser, theme: Any, width: int) -> None:
    view: Any = {"width": width, "height": 900}
    with opened(browser, entrance(server), viewport=view, color_scheme=theme) as page:
        page.wait_for_url("**/overview")
        page.get_by_role("slider", name="Position in cam").wait_for()
        assert serious_findings(page) == []
        base = page.url.removesuffix("/overview")
        waits = {
            "frames": _tiles(page).first,
            "frames?frame=3%40cam": page.get_by_text("luma 0..255").first,
            "map?colour=reasons": page.get_by_role("group", name="Colours by reasons"),
        }
        for address, shown in waits.items():
            page.goto(f"{base}/{address}")
            shown.wait_for()
            assert serious_findings(page) == []
            # Nothing is wider than the window.
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
