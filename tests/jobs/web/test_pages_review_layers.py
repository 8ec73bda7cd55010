"""Review in a real browser: suggestions, masks that models make, images that change or are turned, touch and pen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.storage.workspace import Workspace
from tests import exif_material
from tests.helpers import go
from tests.jobs.web.browsing import chromium, needs_pages, serious_findings, winnow
from tests.jobs.web.review_material import (
    HEIGHT,
    WIDTH,
    add_people,
    annotated,
    choose,
    drag,
    frame_of,
    image,
    place,
    program,
    saved,
    shown,
    signed_in,
)
from tests.torch_models import write_sam2
from tests.web_process import ServerProcess, server_process

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")
pytestmark = needs_pages
WORK = "/p/street/review/work"
_MEASURED = ("stages=[quality, fingerprints]",)
# Turned by a quarter, and mirrored.
_ORIENTATIONS = (6, 2)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("layers")
    workspace = annotated(folder)
    stream = folder / "data" / "turned"
    stream.mkdir()
    for number, orientation in enumerate(_ORIENTATIONS):
        file = stream / f"image_{number}.webp"
        exif_material.written(file, exif_material.scene(number)[..., ::-1], orientation)
    go(workspace, stream, settings=_MEASURED)
    box = exif_material.DISPLAYED
    _suggest(workspace, folder, "turned", dict.fromkeys(range(len(_ORIENTATIONS)), box), "edges")
    return workspace


def _suggest(workspace: Workspace, folder: Path, stream: str, boxes: dict[int, tuple[int, ...]], name: str) -> None:
    """Import one car a frame as a suggestion."""
    size = {"width": WIDTH, "height": HEIGHT}
    if stream == "turned":
        size = {"width": exif_material.WIDTH, "height": exif_material.HEIGHT}
    suffix = "webp" if stream == "turned" else "png"
    images = [{"id": n, "file_name": f"{stream}/image_{n}.{suffix}", **size} for n in boxes]
    objects = [
        {"id": n + 1, "image_id": n, "category_id": 1, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        for n, box in boxes.items()
    ]
    labels = folder / f"{name}.json"
    about = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "car"}]}
    labels.write_text(json.dumps(about), encoding="utf-8")
    options = ("--format", "coco", "--name", name, "--as", "suggestion", "--exif", "displayed")
    winnow("labels", "import", str(labels), *options, "--workspace", str(workspace.root))


@pytest.fixture(scope="module")
def server(project: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    weights = write_sam2(tmp_path_factory.mktemp("weights") / "tiny")
    options = ("--mask-weights", str(weights), "--mask-device", "cpu")
    with server_process(Path(project.root), *options, pages=True) as found:
        add_people(found, "street", {"rita": "reviewer", "ann": "annotator"})
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def frame(idx: int, stream: str = "hall") -> str:
    return f"{WORK}?frame={idx}%40{stream}"


def boxes_on(server: ServerProcess, idx: int, stream: str = "hall") -> dict[str, Any]:
    with program(server, "rita") as client:
        found = frame_of(client, stream, idx)
    return {each["object_id"]: each["bbox"] for each in found["objects"]}


def test_a_suggestion_is_accepted_by_a_key_and_changes_nothing_else(
    server: ServerProcess, browser: Browser, project: Workspace, tmp_path: Path
) -> None:
    with signed_in(browser, server, "rita", frame(0)) as page:
        shown(page, 0, "hall")
        page.mouse.click(*place(page, 60, 60))
        page.keyboard.press("Alt+ArrowRight")
        saved(page)
        before = boxes_on(server, 0)
        _suggest(project, tmp_path, "hall", {0: (300, 20, 60, 50)}, "again")
        page.reload()
        shown(page, 0, "hall")
        suggestions = page.get_by_role("button", name="suggestions")
        expect(suggestions).to_be_visible()
        assert boxes_on(server, 0) == before
        # It is no object: selecting all of them, or approving, takes none of it.
        page.mouse.move(*place(page, 330, 45))
        page.keyboard.press("u")
        page.keyboard.press("g")
        assert boxes_on(server, 0) == before
        page.keyboard.press("u")
        page.mouse.move(*place(page, 331, 46))
        page.keyboard.press("g")
        saved(page)
        expect(page.get_by_role("listbox", name="Objects").get_by_role("option")).to_have_count(len(before) + 1)
    after = boxes_on(server, 0)
    assert {name: after[name] for name in before} == before
    assert [box for name, box in after.items() if name not in before] == [[300, 20, 60, 50]]


def test_a_mask_is_made_by_points_and_kept_as_an_object(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ann", frame(1)) as page:
        shown(page, 1, "hall")
        choose(page, "car")
        page.keyboard.press("q")
        said = page.locator("[data-model]")
        expect(said).to_have_attribute("data-model", "tiny")
        expect(said).to_have_attribute("data-waits", "")
        page.mouse.click(*place(page, 350, 60))
        page.keyboard.press("e")
        page.mouse.click(*place(page, 20, 280))
        expect(said).to_have_attribute("data-waits", "")
        assert serious_findings(page) == []
        page.keyboard.press("Enter")
        saved(page)
    with program(server, "ann") as client:
        masks = [each for each in frame_of(client, "hall", 1)["objects"] if each["rle"]]
    assert [(each["category"], each["origin"]) for each in masks] == [("car", "person")]


def test_work_on_an_image_that_was_replaced_is_kept_and_shown(
    server: ServerProcess, browser: Browser, project: Workspace
) -> None:
    with signed_in(browser, server, "ann", frame(2)) as page:
        shown(page, 2, "hall")
        file = Path(project.root).parent / "data" / "hall" / "image_2.png"
        cv2.imwrite(str(file), image(977))
        go(project, file.parent, settings=_MEASURED)
        choose(page, "car")
        page.keyboard.press("b")
        drag(page, (20, 200), (100, 280))
        page.get_by_role("button", name="to decide").click()
        dialog = page.get_by_role("dialog", name="The image is another one now")
        expect(dialog.get_by_label("What was done")).to_have_value(re.compile(r'"op": "add".*"car"', re.DOTALL))
        # It is still there after the page was closed.
        page.reload()
        expect(page.get_by_role("button", name="to decide")).to_be_visible()


@pytest.mark.parametrize("ratio", [1, 1.5, 2])
def test_turned_and_mirrored_images_are_under_their_boxes(
    server: ServerProcess, browser: Browser, ratio: float
) -> None:
    """The bright rectangle has its edges where the editor draws the box of the object, at every zoom."""
    left, top, width, height = exif_material.DISPLAYED
    with signed_in(browser, server, "ann", frame(0, "turned"), device_scale_factor=ratio) as page:
        for number in range(len(_ORIENTATIONS)):
            if number:
                page.keyboard.press("ArrowRight")
            shown(page, number, "turned")
            page.keyboard.press("h")
            for wanted in (0.25, 1.0, 7.3):
                _zoom(page, wanted, (left + width / 2, top + height / 2))
                off = page.evaluate(_RECTANGLE, [left, top, width, height])
                assert max(map(abs, off)) <= 0.5, (number, wanted, off)


def _zoom(page: Page, wanted: float, about: tuple[float, float]) -> None:
    page.mouse.move(*place(page, *about))
    for _ in range(200):
        scale = float((page.locator(".canvas").get_attribute("data-view") or "").split()[0])
        if abs(scale / wanted - 1) < 1e-3:
            break
        turn = page.evaluate("([from, to]) => -Math.log(to / from) / 0.0022", [scale, wanted])
        page.mouse.wheel(0, max(-200.0, min(200.0, turn)))
        page.wait_for_function(f"!document.querySelector('.canvas').dataset.view.startsWith('{scale} ')")
    page.wait_for_function("() => document.querySelector('[data-layer=still]').style.transform === 'none'")


# How far each edge of the bright rectangle is from that of its box, in pixels of the canvas.
_RECTANGLE = """([x, y, w, h]) => {
  const box = document.querySelector('.canvas');
  const [scale, left, top] = box.dataset.view.split(' ').map(Number);
  const canvas = document.querySelector('[data-layer=image]');
  const ratio = [canvas.width / box.clientWidth, canvas.height / box.clientHeight];
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const start = [(left + x * scale) * ratio[0], (top + y * scale) * ratio[1]];
  const size = [w * scale * ratio[0], h * scale * ratio[1]];
  const off = (axis, at) => {
    const along = Math.floor(start[1 - axis] + size[1 - axis] / 2);
    const reach = Math.max(2, Math.min(6, Math.floor(size[axis] / 3)));
    const from = Math.round(at) - reach;
    const data = axis === 0
      ? context.getImageData(from, along, 2 * reach, 1).data : context.getImageData(along, from, 1, 2 * reach).data;
    const value = Array.from({ length: 2 * reach }, (_, n) => data[4 * n + 1]);
    // Where the sum of what is bright ends: the place of the edge to a part of a pixel.
    const [low, high] = [Math.min(...value), Math.max(...value)];
    const bright = value.reduce((sum, each) => sum + (each - low) / (high - low), 0);
    return (value[0] < value.at(-1) ? from + 2 * reach - bright : from + bright) - at;
  };
  return [off(0, start[0]), off(0, start[0] + size[0]), off(1, start[1]), off(1, start[1] + size[1])];
}"""


def test_a_finger_draws_two_fingers_zoom_and_a_pen_draws(server: ServerProcess, browser: Browser) -> None:
    with signed_in(browser, server, "ann", frame(4), has_touch=True) as page:
        shown(page, 4, "hall")
        choose(page, "car")
        page.keyboard.press("b")
        devices = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            at = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
            devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

        touch("touchStart", place(page, 20, 200))
        touch("touchMove", place(page, 60, 240))
        touch("touchMove", place(page, 100, 280))
        touch("touchEnd")
        saved(page)
        drawn = [box for box in boxes_on(server, 4).values() if box[1] > 150]
        assert [[round(value) for value in box] for box in drawn] == [[20, 200, 80, 80]]
        # A second finger ends what the first one began: nothing is drawn, and the frame is zoomed.
        view = page.locator(".canvas").get_attribute("data-view")
        near, far = (place(page, 180, 150), place(page, 220, 150)), (place(page, 140, 150), place(page, 260, 150))
        touch("touchStart", near[0])
        touch("touchStart", *near)
        touch("touchMove", *far)
        touch("touchEnd")
        page.wait_for_function(f"document.querySelector('.canvas').dataset.view !== {json.dumps(view)}")
        assert len(boxes_on(server, 4)) == 3
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.keyboard.press("z")
        page.keyboard.press("b")
        for kind, (x, y), buttons in (
            ("mousePressed", (300, 20), 1),
            ("mouseMoved", (340, 60), 1),
            ("mouseReleased", (380, 90), 0),
        ):
            at = place(page, x, y)
            about = {"type": kind, "x": at[0], "y": at[1], "button": "left", "buttons": buttons, "clickCount": 1}
            devices.send("Input.dispatchMouseEvent", {**about, "pointerType": "pen"})
        saved(page)
        pen = [box for box in boxes_on(server, 4).values() if box[0] > 290]
        assert [[round(value) for value in box] for box in pen] == [[300, 20, 80, 70]]
