"""A project to review in a browser: frames with objects that wait for a person, people, and what they may do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from playwright.sync_api import Browser, Page, expect

from jobs.storage.workspace import Workspace
from tests.helpers import go, noise
from tests.jobs.web.browsing import opened, winnow
from tests.web_process import ServerProcess

WIDTH, HEIGHT = 400, 300
PASSWORD = "a sound of many waters"
DESK, HALL = 10, 12
"""Frames of the streams `desk`, with twenty objects each, and `hall`, with two."""
PER_FRAME = 20


def image(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.repeat(noise(number, HEIGHT, WIDTH)[:, :, None], 3, axis=2)


def boxes(stream: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """The objects of each frame of a stream: on the desk nineteen cars and a ghost, in the hall a car and a bus."""
    if stream == "hall":
        return [("car", (40, 40, 80, 60)), ("bus", (200, 120, 120, 80))]
    found = [(20 + 76 * (n % 5), 15 + 70 * (n // 5), 50, 40) for n in range(PER_FRAME)]
    return [("ghost" if n == 7 else "car", box) for n, box in enumerate(found)]


def annotated(root: Path, name: str = "street") -> Workspace:
    """Make a workspace whose objects were imported as suggestions."""
    data = root / "data"
    workspace = Workspace.at(root / name)
    images: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    numbers = {"bus": 1, "car": 2, "ghost": 3}
    for first, (stream, frames) in enumerate((("desk", DESK), ("hall", HALL))):
        (data / stream).mkdir(parents=True)
        for n in range(frames):
            file = data / stream / f"image_{n}.png"
            cv2.imwrite(str(file), image(100 * first + n))
            images.append({"id": len(images), "file_name": f"{stream}/{file.name}", "width": WIDTH, "height": HEIGHT})
            for category, box in boxes(stream):
                about = {"bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
                found.append(
                    {"id": len(found) + 1, "image_id": images[-1]["id"], "category_id": numbers[category], **about}
                )
    go(workspace, data / "desk", data / "hall", settings=("stages=[quality, fingerprints]",))
    labels = root / "labels.json"
    categories = [{"id": number, "name": category} for category, number in numbers.items()]
    labels.write_text(json.dumps({"images": images, "annotations": found, "categories": categories}), encoding="utf-8")
    options = ("--format", "coco", "--name", "rough", "--as", "suggestion", "--workspace", str(workspace.root))
    winnow("labels", "import", str(labels), *options)
    return workspace


def add_people(server: ServerProcess, project: str, people: dict[str, str]) -> None:
    """Make accounts with a role each."""
    with server.browser() as client:
        for name, role in people.items():
            made = client.post(f"{server.api}/users", json={"name": name, "password": PASSWORD})
            assert made.status_code == 201, made.text
            put = client.put(f"{server.api}/projects/{project}/members/{made.json()['user_id']}", json={"role": role})
            assert put.status_code == 200, put.text


@contextmanager
def signed_in(browser: Browser, server: ServerProcess, name: str, path: str, **options: Any) -> Iterator[Page]:
    """Open a page as somebody."""
    with opened(browser, f"{server.url}/sign-in", **options) as page:
        sign_in(page, name)
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}{path}")
        yield page


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@contextmanager
def program(server: ServerProcess, name: str) -> Iterator[httpx.Client]:
    """Give a client in which somebody is signed in."""
    with httpx.Client(base_url=f"{server.api}/projects/street/review/", headers={"origin": server.url}) as client:
        answer = client.post(f"{server.api}/session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        yield client


def frame_of(client: httpx.Client, stream: str, idx: int) -> Any:
    answer = client.get("frame", params={"stream": stream, "idx": idx})
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown(page: Page, idx: int, stream: str) -> None:
    """Wait until a frame is on the screen."""
    expect(page.get_by_role("application", name=f"Frame {idx} of {stream}, ")).to_be_visible()


def saved(page: Page) -> None:
    """Wait until the server has all that was done."""
    expect(page.locator("[data-waiting]")).to_have_attribute("data-waiting", "0")


def choose(page: Page, category: str) -> None:
    """Press the key of a category, as the page lists it: keys are known once the categories of the project are."""
    listed = page.get_by_role("complementary", name="Objects and categories")
    button = listed.get_by_role("button", name=re.compile(rf"^\d\s*{category}$"))
    page.keyboard.press(button.locator("kbd").inner_text())
    expect(button).to_have_attribute("aria-pressed", "true")


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return where a pixel of the frame is in the window."""
    scale, left, top = page.evaluate(_AT_REST)
    return left + x * scale, top + y * scale


# Where the frame is in the window, as soon as it has stayed there from one frame of the screen to the next but one.
_AT_REST = """async () => {
  const canvas = document.querySelector('.canvas');
  let before = null;
  for (;;) {
    const box = canvas.getBoundingClientRect();
    const [scale, left, top] = (canvas.dataset.view ?? '').split(' ').map(Number);
    const found = [scale, box.left + left, box.top + top];
    if (found.every(Number.isFinite) && String(found) === before) return found;
    before = String(found);
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  }
}"""


def drag(page: Page, start: Sequence[float], end: Sequence[float]) -> None:
    """Drag from a pixel of the frame to another."""
    page.mouse.move(*place(page, start[0], start[1]))
    page.mouse.down()
    page.mouse.move(*place(page, (start[0] + end[0]) / 2, (start[1] + end[1]) / 2))
    page.mouse.move(*place(page, end[0], end[1]))
    page.mouse.up()
