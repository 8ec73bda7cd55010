"""Images of the pages for the documents, and the keys of each page: `python -m tests.screenshots`.

They are of the demo, and those of models of generated shapes, with figures that are known.

Each image has 256 colours or fewer, so that all of them together stay small.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Page

from jobs.demo import STREAM
from jobs.dispatch import tasks
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.task_options import ExportOptions, ReleaseOptions, SelectOptions, TaskOptions
from jobs.evaluation import promotion
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import chromium, entrance, opened, winnow
from tests.reference import ROOT
from tests.training_material import evaluated, labelled_workspace, placed, trained
from tests.web_process import server_process

FOLDER = ROOT / "docs/pages"
PAGE = ROOT / "docs/pages.md"
MOST_BYTES = 150_000

_WINDOW = {"width": 1440, "height": 900}
_COLOURS = (256, 128, 64)
_SETTLED_MS = 600
_PROJECT = "demo"
_FIRST = ("Everywhere", "Go to")
_KEYS = re.compile(r"(<!-- keys: .*? -->\n).*(<!-- end of keys -->)", re.DOTALL)
_SHOW_ELSEWHERE = """folder => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, '/data');
}"""
"""The folder is a temporary one, whose name says nothing."""
_DECODE = """Promise.all(
  [...document.images].filter(image => image.getBoundingClientRect().top < innerHeight)
    .map(image => image.decode().catch(() => null)),
)"""
"""Images below the window are loaded when they come into view, and are never decoded before."""
_LISTED = """[...document.querySelectorAll('dialog section')].map(section => [
  section.querySelector('h3').textContent,
  [...section.querySelectorAll('dl > div')].map(row => [...row.children].map(cell => cell.textContent)),
])"""


@dataclass(frozen=True)
class Screenshot:
    """An image: its name, the address within the project, what to wait for, and what to press before."""

    name: str
    place: str
    awaited: str
    theme: Literal["light", "dark"] = "light"
    clicks: Sequence[str] = ()
    awaits_last: bool = False
    """Whether what is awaited is there after the clicks."""


def screenshots(export: str) -> Iterator[Screenshot]:
    """Yield what is to be made; `export` is the id of an export that is done."""
    yield Screenshot("overview", "overview", ".figures")
    yield Screenshot("overview-dark", "overview", ".figures", "dark")
    frame = f"frames?stream={STREAM}&reason=near_duplicate&frame=204%40{STREAM}"
    yield Screenshot("frames", frame, "aside .members")
    yield Screenshot("map", "map?colour=luma_mean", ".plane canvas")
    yield Screenshot("review-queue", "review", "tbody td.thumb")
    yield Screenshot("review", "review", "main canvas", clicks=("text=Start",), awaits_last=True)
    yield Screenshot("thresholds", "thresholds?set=curation.dark_mean%3D95", ".sheet img")
    yield Screenshot("thresholds-dark", "thresholds?set=curation.dark_mean%3D95", ".effects .figures", "dark")
    yield Screenshot("selections", "datasets/selections?new=1", "form pre")
    yield Screenshot("release", "datasets/releases/v2", ".two li")
    yield Screenshot("comparison", "datasets/diff?before=v1&after=v2", ".sheet img", clicks=(".tile >> nth=2",))
    yield Screenshot("export", f"datasets/exports/{export}", ".table")
    yield Screenshot("new-run", "jobs/new", "form, .page input")
    yield Screenshot("jobs", "jobs", ".table tbody tr", "dark")


def of_models(job_id: str) -> Iterator[Screenshot]:
    """Yield what is to be made of models; `job_id` is that of a training that is done."""
    form = f"models/train?like={job_id}"
    yield Screenshot("train", form, "section table", clicks=("button:text-is('Pre-flight')",), awaits_last=True)
    yield Screenshot("training", f"models/trainings/{job_id}", "li img")
    yield Screenshot("model", "models/of/yard?version=2", ".figure", "dark")
    yield Screenshot("disagreements", "models/frames", "figure img")


def main() -> None:
    """Make all images, or those that the arguments name."""
    wanted = sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    keys: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for prepared, shown in ((_prepared, screenshots), (_with_models, of_models)):
            if wanted and not any(each.name in wanted for each in shown("")):
                continue
            place, job_id = prepared(Path(folder))
            with (
                server_process(place, pages=True) as server,
                chromium() as browser,
                opened(browser, entrance(server), viewport=_WINDOW) as page,
            ):
                page.wait_for_url("**/overview")
                for each in shown(job_id):
                    if not wanted or each.name in wanted:
                        project = f"{server.url}/p/{place.name}"
                        (FOLDER / f"{each.name}.png").write_bytes(_image(page, project, each, folder))
                        print(each.name)
                if not wanted:
                    places = [each.place for each in shown(job_id) if not each.clicks]
                    _add_keys(keys, page, f"{server.url}/p/{place.name}", places)
    if keys:
        PAGE.write_text(_KEYS.sub(lambda found: f"{found[1]}\n{_table_of(keys)}\n{found[2]}", PAGE.read_text()))


def _with_models(folder: Path) -> tuple[Path, str]:
    """Make a set of generated shapes, trainings and versions of known figures; return it, and the id of a training."""
    workspace = labelled_workspace(folder / "models")
    one, two = placed(workspace, "yard", 0.41), placed(workspace, "yard", 0.62)
    evaluated(workspace, (one, 0.5))
    promotion.promote(Store(workspace.root), one.reference, by="ann", reason="the first")
    evaluated(workspace, (one, 0.5), (two, 0.9))
    job_id, _ = trained(workspace, "yard", [round((epoch / 14) ** 0.6, 2) for epoch in range(15)])
    return workspace.folder, job_id


def _prepared(folder: Path) -> tuple[Path, str]:
    """Make the demo, two releases of it and an export; return it, and the id of the latter."""
    place = folder / _PROJECT
    winnow("demo", "--out", str(folder / "sample"))
    (folder / "sample" / "tables").rename(place)
    workspace = Workspace.at(place)
    _made(workspace, ReleaseOptions(name="v1", note="as the demo left it"))
    settings = ("curation.dark_mean=10", "curation.overexposed_mean=200", "annotate.min_score=0.8")
    words = [word for setting in settings for word in ("--set", setting)]
    winnow("job", "replay", "last", "--from", "curation", *words, "--promote", "--workspace", str(place))
    _made(workspace, ReleaseOptions(name="v2", note="with the frames of the night"))
    _made(workspace, SelectOptions(name="week-47", n=60))
    split = {"train": 0.7, "val": 0.3}
    return place, _made(workspace, ExportOptions(format="coco", release="v1", split=split, everything=True))


def _made(workspace: Workspace, options: TaskOptions) -> str:
    """Do what a gateway would."""
    job_id = tasks.submit(workspace, options)
    queue = JobQueue(workspace.root)
    [job] = [job for job in queue.live() if job.job_id == job_id]
    queue.claim(job)
    tasks.run(workspace, job)
    return job_id


def _add_keys(found: dict[str, dict[str, str]], page: Page, project: str, places: Sequence[str]) -> None:
    """Add the keys that pages of a project list, by group."""
    for place in dict.fromkeys([*places, "review"]):
        page.goto(f"{project}/{place}")
        page.get_by_role("heading").first.wait_for()
        page.wait_for_timeout(_SETTLED_MS)
        page.keyboard.press("?")
        page.get_by_role("dialog").wait_for()
        for group, rows in page.evaluate(_LISTED):
            found.setdefault(group, {}).update({what: keys for keys, what in rows})


def _table_of(found: dict[str, dict[str, str]]) -> str:
    lines = ["| where | keys | what |", "| --- | --- | --- |"]
    for group, rows in sorted(found.items(), key=lambda each: (each[0] not in _FIRST, each[0])):
        lines += [f"| {group} | {keys.replace('|', '&#124;')} | {what} |" for what, keys in rows.items()]
    return "\n".join(lines)


def _image(page: Page, project: str, what: Screenshot, folder: str) -> bytes:
    page.emulate_media(color_scheme=what.theme, reduced_motion="reduce")
    page.goto(f"{project}/{what.place}")
    if what.awaits_last:
        for selector in what.clicks:
            page.locator(selector).first.click()
    page.locator(what.awaited).first.wait_for()
    for selector in () if what.awaits_last else what.clicks:
        page.locator(selector).click()
    # Images that come into view are loaded then.
    page.wait_for_load_state("load")
    page.wait_for_timeout(_SETTLED_MS)
    page.evaluate(_DECODE)
    page.evaluate(_SHOW_ELSEWHERE, folder)
    return _small(page.screenshot())


def _small(png: bytes) -> bytes:
    """Return an image as PNG with a palette, with as many colours as fit into `MOST_BYTES`."""
    with Image.open(io.BytesIO(png)) as found:
        image = found.convert("RGB")
    for scale in (0.8, 0.7, 0.6, 0.5):
        size = (round(image.width * scale), round(image.height * scale))
        scaled = image.resize(size, Image.Resampling.LANCZOS)
        for colours in _COLOURS:
            out = io.BytesIO()
            scaled.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
                out, "PNG", optimize=True
            )
            if out.tell() <= MOST_BYTES:
                return out.getvalue()
    raise ValueError(f"an image does not fit into {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
