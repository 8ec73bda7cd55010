"""Review in a real browser: by keyboard, by two people at once, without a network, after a session ended."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import needs_pages, serious_findings
from tests.jobs.web.review_material import (
    DESK,
    HALL,
    PER_FRAME,
    add_people,
    annotated,
    choose,
    drag,
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
# A frame that was not seen before is in the address.
_ANOTHER = """seen => {
  const frame = new URL(location).searchParams.get('frame');
  return frame !== null && !seen.includes(frame) && frame;
}"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return annotated(tmp_path_factory.mktemp("review"))


@pytest.fixture(scope="module")
def server(project: Workspace) -> Iterator[ServerProcess]:
    with server_process(Path(project.root), pages=True) as found:
        add_people(found, "street", {"rita": "reviewer", "ann": "annotator", "ben": "annotator"})
        yield found


def hall(idx: int) -> str:
    """The address of a frame of the hall; each test has frames of its own."""
    return f"{WORK}?frame={idx}%40hall"


def objects(page: Page) -> Locator:
    """The objects in the list, in its order."""
    return page.get_by_role("listbox", name="Objects").get_by_role("option")


def test_two_hundred_boxes_are_reviewed_by_keyboard(server: ServerProcess, browser: Browser) -> None:
    keys: list[str] = []
    to_check = re.compile(f"^Objects {PER_FRAME}, {PER_FRAME} to check")
    with signed_in(browser, server, "rita", "/p/street/review?stream=desk") as page:

        def press(key: str) -> None:
            keys.append(key)
            page.keyboard.press(key)

        expect(page.get_by_text(f"1 to {DESK} of {DESK} frames")).to_be_visible()
        press("Enter")
        seen: set[str] = set()
        for _ in range(DESK):
            frame = page.wait_for_function(_ANOTHER, arg=sorted(seen)).json_value()
            seen.add(frame)
            shown(page, int(frame.removesuffix("@desk")), "desk")
            expect(page.get_by_role("heading", name=to_check)).to_be_visible()
            chosen = page.locator("[role=option][aria-selected=true]")
            for _ in range(PER_FRAME):
                press("j")
                if "ghost" in chosen.inner_text():
                    press("r")
                    break
            press("Enter")
        expect(page.get_by_text("Nothing is left in this queue.")).to_be_visible()
        saved(page)
    assert len(keys) <= DESK * PER_FRAME
    with program(server, "rita") as client:
        for n in range(DESK):
            found = frame_of(client, "desk", n)
            assert (found["state"], found["approved_by"]) == ("approved", "rita")
            assert [each["category"] for each in found["objects"]] == ["car"] * (PER_FRAME - 1)
            assert [each["category"] for each in found["deleted"]] == ["ghost"]


def test_shapes_are_drawn_changed_and_undone_across_frames(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ann", hall(0)) as page:
        shown(page, 0, "hall")
        choose(page, "bus")
        page.keyboard.press("b")
        drag(page, (10, 200), (90, 260))
        expect(page.locator("[role=option][aria-selected=true]")).to_contain_text("bus")
        # The tool stays, and what was just drawn is changed with it.
        drag(page, (90, 260), (110, 280))
        drag(page, (300, 20), (380, 90))
        saved(page)
        page.keyboard.press("ArrowRight")
        shown(page, 1, "hall")
        view = page.locator(".canvas").get_attribute("data-view")
        page.keyboard.press("p")
        for x, y in ((300, 250), (360, 250), (360, 290), (300, 290)):
            page.mouse.click(*place(page, x, y))
        page.keyboard.press("Enter")
        expect(objects(page)).to_have_count(3)
        saved(page)
        page.keyboard.press("Control+z")
        expect(objects(page)).to_have_count(2)
        page.keyboard.press("Control+z")
        shown(page, 0, "hall")
        assert page.locator(".canvas").get_attribute("data-view") == view
        expect(objects(page)).to_have_count(3)
        page.keyboard.press("Control+y")
        expect(objects(page)).to_have_count(4)
        saved(page)
    with program(server, "ann") as client:
        drawn = [each for each in frame_of(client, "hall", 0)["objects"] if each["origin"] == "person"]
        assert [each["category"] for each in drawn] == ["bus", "bus"]
        assert sorted([round(v) for v in each["bbox"]] for each in drawn) == [[10, 200, 100, 80], [300, 20, 80, 70]]
        assert len(frame_of(client, "hall", 1)["objects"]) == 2
        assert len(frame_of(client, "hall", 1)["deleted"]) == 1


def test_no_key_gives_a_category_before_the_categories_are_known(server: ServerProcess, browser: Browser) -> None:
    held: list[Route] = []
    with signed_in(browser, server, "ann", f"{WORK}?stream=desk") as page:
        # Playwright marks what it calls, which methods of a list do not let it.
        page.route("**/review/categories", lambda route: held.append(route))  # noqa: PLW0108
        page.goto(f"{server.url}{hall(8)}")
        shown(page, 8, "hall")
        page.mouse.click(*place(page, 250, 150))
        expect(page.locator("[role=option][aria-selected=true]")).to_contain_text("bus")
        for key in "123":
            page.keyboard.press(key)
        assert held
        for each in held:
            each.continue_()
        choose(page, "ghost")
        saved(page)
    with program(server, "ann") as client:
        events = client.get("history", params={"stream": "hall", "idx": 8}).json()["events"]
        [mine] = [each for each in events if each["user"] == "ann"]
        assert [op["changed"]["category"] for op in mine["ops"]] == ["ghost"], mine


def test_two_people_on_one_frame_lose_nothing(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ann", hall(2)) as ann, signed_in(browser, server, "ben", hall(2)) as ben:
        for page in (ann, ben):
            shown(page, 2, "hall")
        # Different objects: both stand, and nobody is asked.
        ann.mouse.click(*place(ann, 60, 60))
        choose(ann, "bus")
        saved(ann)
        choose(ben, "bus")
        ben.keyboard.press("b")
        drag(ben, (20, 200), (100, 280))
        saved(ben)
        expect(objects(ben).filter(has_text="bus")).to_have_count(3)
        expect(objects(ben).filter(has_text="car")).to_have_count(0)
        # The same object: it is shown twice, and chosen.
        ann.mouse.click(*place(ann, 250, 150))
        choose(ann, "car")
        saved(ann)
        ben.keyboard.press("v")
        drag(ben, (260, 160), (280, 180))
        ben.get_by_role("button", name="to decide").click()
        expect(ben.get_by_role("img", name="Both shapes over the image")).to_be_visible()
        expect(ben.get_by_role("button", name=re.compile("^ann"))).to_contain_text("car")
        assert serious_findings(ben) == []
        ben.get_by_role("button", name=re.compile("^Mine")).click()
        ben.get_by_role("button", name="Keep what is chosen").click()
        saved(ben)
        expect(ben.get_by_role("button", name="to decide")).to_have_count(0)
    with program(server, "ann") as client:
        found = {
            tuple(round(v) for v in each["bbox"]): each["category"] for each in frame_of(client, "hall", 2)["objects"]
        }
        assert found == {(40, 40, 80, 60): "bus", (20, 200, 80, 80): "bus", (220, 140, 120, 80): "car"}


def test_a_hundred_edits_without_a_network_arrive_once_and_in_order(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ann", hall(3)) as page:
        shown(page, 3, "hall")
        choose(page, "car")
        page.context.set_offline(True)
        page.keyboard.press("B")
        for n in range(99):
            page.keyboard.press("Alt+ArrowLeft" if n % 2 else "Alt+ArrowUp")
        expect(page.locator("[data-waiting]")).to_have_text("offline, waiting 100")
        page.context.set_offline(False)
        saved(page)
    with program(server, "ann") as client:
        events = client.get("history", params={"stream": "hall", "idx": 3}).json()["events"]
        mine = [each for each in events if each["user"] == "ann"]
        assert len({each["event_id"] for each in mine}) == len(mine) == 100
        by_revision = sorted(mine, key=lambda each: each["revision"])
        assert [each["revision"] for each in by_revision] == list(range(1, 101))
        # Ids of events sort by when they were made.
        assert [each["event_id"] for each in by_revision] == sorted(each["event_id"] for each in mine)


def test_what_was_done_survives_a_closed_tab(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ben", hall(4)) as page:
        shown(page, 4, "hall")
        page.context.set_offline(True)
        page.keyboard.press("n")
        expect(page.locator("[data-waiting]")).not_to_have_attribute("data-waiting", "0")
        context = page.context
        other = context.new_page()
        page.close()
        context.set_offline(False)
        other.goto(f"{server.url}/p/street/overview")
        expect(other.get_by_role("heading", name="Overview")).to_be_visible()
        with program(server, "rita") as client:
            wait_until(lambda: frame_of(client, "hall", 4)["state"] == "submitted")
            assert frame_of(client, "hall", 4)["objects"] == []


_SIGNED_OUT_THEN_A_BOX = """async () => {
    await fetch('/api/v1/session', {method: 'DELETE'})
    const key = {key: 'B', code: 'KeyB', shiftKey: true, bubbles: true, cancelable: true}
    document.body.dispatchEvent(new KeyboardEvent('keydown', key))
}"""


def test_a_session_that_ends_over_an_open_editor_loses_nothing(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ben", hall(5)) as page:
        shown(page, 5, "hall")
        choose(page, "car")
        # In one go: the page may notice by itself that it is signed out, and then asks before it takes another key.
        page.evaluate(_SIGNED_OUT_THEN_A_BOX)
        dialog = page.get_by_role("dialog", name="Sign in again")
        expect(dialog).to_be_visible()
        expect(objects(page)).to_have_count(3)
        assert serious_findings(page) == []
        sign_in(page, "ben")
        expect(dialog).to_have_count(0)
        saved(page)
        expect(objects(page)).to_have_count(3)
    with program(server, "ben") as client:
        assert len(frame_of(client, "hall", 5)["objects"]) == 3


def test_keys_are_listed_changed_and_refused_where_they_are_taken(server: ServerProcess, browser: Browser) -> None:
    options = {"color_scheme": "dark", "viewport": {"width": 800, "height": 700}}
    with signed_in(browser, server, "ann", hall(6), **options) as page:
        shown(page, 6, "hall")
        page.keyboard.press("?")
        sheet = page.get_by_role("dialog", name="Keys")
        expect(sheet).to_contain_text("Nothing here: a negative, and the next one")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Change keys").click()
        dialog = page.get_by_role("dialog", name="Keys of the editor")
        dialog.get_by_role("button", name=re.compile("the key of Box$")).click()
        page.keyboard.press("p")
        expect(dialog.get_by_role("alert")).to_have_text("p is taken: Polygon")
        page.keyboard.press("y")
        expect(dialog.get_by_role("button", name=re.compile("the key of Box$"))).to_have_text("y")
        assert serious_findings(page) == []
        page.keyboard.press("Escape")
        page.reload()
        shown(page, 6, "hall")
        page.keyboard.press("b")
        expect(page.get_by_role("button", name="Box", exact=True)).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("y")
        expect(page.get_by_role("button", name="Box", exact=True)).to_have_attribute("aria-pressed", "true")
        assert serious_findings(page) == []


def test_a_frame_is_returned_with_a_word_to_who_submitted_it(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ann", hall(HALL - 1)) as page:
        shown(page, HALL - 1, "hall")
        page.keyboard.press("Enter")
        saved(page)
    with signed_in(browser, server, "rita", hall(HALL - 1)) as page:
        expect(page.get_by_role("button", name="Approve & next")).to_be_visible()
        page.keyboard.press("i")
        page.get_by_label("About this frame").fill("the bus is cut off")
        page.get_by_role("button", name="Return with this word").click()
        saved(page)
    with signed_in(browser, server, "ann", f"{WORK}?stream=hall") as page:
        shown(page, HALL - 1, "hall")
        expect(page.get_by_text("Returned: “the bus is cut off”")).to_be_visible()


@pytest.mark.parametrize("ratio", [1, 1.5, 2])
def test_shapes_are_drawn_within_half_a_pixel(server: ServerProcess, browser: Browser, ratio: float) -> None:
    """The box of the bus has its edges where its corners are, on the canvas as it is on the screen."""
    with signed_in(browser, server, "ann", hall(7), device_scale_factor=ratio) as page:
        shown(page, 7, "hall")
        for wanted in (0.25, 1.0, 7.3):
            x, y = place(page, 200, 120)
            page.mouse.move(x, y)
            for _ in range(200):
                scale = float((page.locator(".canvas").get_attribute("data-view") or "").split()[0])
                if abs(scale / wanted - 1) < 1e-3:
                    break
                # A notch of the wheel is turned as far as is needed, and no further than one may be.
                page.mouse.wheel(0, max(-200.0, min(200.0, -(1 / 0.0022) * math.log(wanted / scale))))
                page.wait_for_function(f"!document.querySelector('.canvas').dataset.view.startsWith('{scale} ')")
            page.wait_for_function(_AT_REST)
            left, top = page.evaluate(_EDGES, [200, 120, scale])
            assert abs(left) <= 0.5
            assert abs(top) <= 0.5


# Still shapes are drawn in the present view.
_AT_REST = "() => document.querySelector('[data-layer=still]').style.transform === 'none'"
# How far the middle of what is drawn is from the left and the upper edge of a box, in pixels of the canvas.
_EDGES = """([x, y]) => {
  const box = document.querySelector('.canvas');
  const [scale, left, top] = box.dataset.view.split(' ').map(Number);
  const canvas = document.querySelector('[data-layer=still]');
  const ratio = [canvas.width / box.clientWidth, canvas.height / box.clientHeight];
  // A copy is read, so that the canvas itself stays one that is only drawn on.
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const at = [(left + x * scale) * ratio[0], (top + y * scale) * ratio[1]];
  const inside = [40 * scale * ratio[0], 30 * scale * ratio[1]];
  const off = (n) => {
    const along = Math.round(at[1 - n] + inside[1 - n]);
    const from = Math.floor(at[n]) - 4;
    const data = n === 0 ? context.getImageData(from, along, 9, 1).data : context.getImageData(along, from, 1, 9).data;
    let [sum, weight] = [0, 0];
    for (let i = 0; i < 9; i += 1) { sum += data[4 * i + 3] * (from + i + 0.5); weight += data[4 * i + 3]; }
    return sum / weight - at[n];
  };
  return [off(0), off(1)];
}"""
