"""From recordings to a dataset in the browser alone, as somebody new would: no command after `winnow serve`."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from pycocotools.coco import COCO

from jobs.demo import SETTINGS, write_sample
from tests.jobs.web.browsing import another_entrance, by_keys, entrance, needs_pages, opened, serious_findings
from tests.jobs.web.browsing import place_of as new_place
from tests.web_process import ServerProcess, server_process
from transforms.frames.image import read_header
from transforms.synthetic import Sample

pytestmark = needs_pages

SAMPLE = Sample(320, 180, timeline=(("moving", 24), ("visited", 16), ("moving", 24)), broken=False)
N = len(SAMPLE.kinds)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(new_place(tmp_path_factory, "crossing"), "--with-gateway", pages=True) as found:
        yield found


class Stopwatch:
    """Prints how long each step took; `pytest -s` shows it."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        print(f"{now - self._since:6.1f} s  {what}")
        self._since = now


def go_to(page: Page, letter: str, name: str) -> None:
    by_keys(page, letter, name)
    expect(page.get_by_role("heading", name=name.capitalize(), level=1)).to_be_visible()


def submit_run(page: Page, folder: Path) -> None:
    """Follow the next step of the overview, fill in the form of a run, and submit it."""
    page.get_by_role("link", name="Do it here").click()
    page.get_by_role("textbox", name=re.compile("^Folders and clips")).fill(str(folder))
    page.get_by_role("combobox", name="Profile").select_option("annotate")
    page.get_by_text("Options of the run").click()
    page.get_by_role("textbox", name=re.compile("^Further settings")).fill("\n".join(SETTINGS))
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("region", name="Dry run")).to_contain_text(str(N))
    page.get_by_role("button", name="Submit").click()


def job_over(page: Page) -> None:
    """Wait on the page of a job until it is done."""
    expect(page.get_by_label("About the job")).to_contain_text(re.compile("state.*done"))


def make_release(page: Page, name: str) -> None:
    go_to(page, "d", "datasets")
    page.get_by_role("link", name="Releases", exact=True).first.click()
    page.wait_for_url("**/datasets/releases")
    expect(page.get_by_role("button", name="New release")).to_be_enabled()
    page.keyboard.press("n")
    form = page.get_by_role("form", name="New release")
    expect(form.get_by_label("Name")).to_have_value(name)
    expect(form.locator("pre")).to_contain_text(f"winnow release create {name} ")
    form.get_by_role("button", name="Make the release").click()
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def downloaded(page: Page, button: Locator, to: Path) -> Path:
    with page.expect_download() as download:
        button.click()
    download.value.save_as(to / "dataset.zip")
    with zipfile.ZipFile(to / "dataset.zip") as packed:
        packed.extractall(to / "dataset")
    return to / "dataset"


def test_the_whole_job_in_the_browser_alone(
    server: ServerProcess, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recordings") / "north"
    write_sample(folder, SAMPLE)
    watch = Stopwatch()
    with opened(browser, entrance(server), accept_downloads=True) as page:
        page.wait_for_url("**/overview")
        expect(page.get_by_text("Nothing was measured yet")).to_be_visible()
        watch.lap("first page")
        submit_run(page, folder)
        job_over(page)
        made = page.get_by_role("region", name="What it made")
        expect(made).to_contain_text(re.compile(rf"\d+ of {N} frames kept"))
        expect(made.get_by_role("link", name=re.compile("^Next: release"))).to_be_visible()
        watch.lap("run")
        go_to(page, "o", "overview")
        expect(page.get_by_role("heading", name="north")).to_be_visible()
        make_release(page, "v1")
        watch.lap("first release")

        go_to(page, "t", "thresholds")
        page.get_by_role("spinbutton", name="dark mean").fill("110")
        page.keyboard.press("Enter")
        heading = page.get_by_role("heading", name=re.compile(r"frames? changes?$"))
        expect(heading).to_be_visible()
        dropped = int(heading.inner_text().split()[0])
        assert 0 < dropped < N
        page.get_by_role("button", name="Apply as a run").click()
        page.wait_for_url("**/jobs/**")
        job_over(page)
        watch.lap("threshold moved, seen and applied")
        make_release(page, "v2")
        watch.lap("second release")

        page.get_by_role("link", name="Compare with v1").click()
        counts = page.get_by_label("Frames that differ")
        expect(counts.get_by_role("button", name=f"newly dropped {dropped}")).to_have_attribute("aria-pressed", "true")
        tiles = page.get_by_role("button", name=re.compile("^Compare frame"))
        expect(tiles).to_have_count(dropped)
        assert serious_findings(page) == []
        tiles.first.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.locator("img")).to_have_count(2)
        expect(dialog.locator("figure").nth(0)).to_contain_text("kept")
        expect(dialog.locator("figure").nth(1)).to_contain_text("dropped")
        title = dialog.get_by_role("heading", level=2)
        first = title.inner_text()
        page.keyboard.press("ArrowRight")
        expect(title).not_to_have_text(first)
        page.keyboard.press("Escape")
        watch.lap("releases compared")

        page.get_by_role("link", name="Exports").click()
        page.wait_for_url("**/datasets/exports")
        expect(page.get_by_role("button", name="New export")).to_be_enabled()
        page.keyboard.press("n")
        form = page.get_by_role("form", name="New export")
        form.get_by_role("combobox", name=re.compile("^Of")).select_option("release:v1")
        form.get_by_label("also frames that are not kept").check()
        form.get_by_label("Percent of train").fill("70")
        expect(form.get_by_role("alert")).to_contain_text("90 %")
        expect(form.get_by_role("button", name="Export", exact=True)).to_be_disabled()
        form.get_by_label("Percent of val").fill("30")
        expect(form.locator("pre")).to_contain_text("--split train=0.7,val=0.3")
        assert serious_findings(page) == []
        form.get_by_role("button", name="Export", exact=True).click()
        page.wait_for_url("**/exports/**")
        button = page.get_by_role("link", name=re.compile("^Download"))
        expect(button).to_be_visible()
        about = page.get_by_label("About the export").inner_text()
        leaks = page.get_by_label("Splits")
        expect(leaks.get_by_role("row", name=re.compile("frames that leak"))).to_be_visible()
        assert serious_findings(page) == []
        dataset = downloaded(page, button, tmp_path_factory.mktemp("download"))
        watch.lap("exported and downloaded")

        sizes, n_objects = {}, 0
        for split in ("train", "val"):
            found = COCO(str(dataset / "annotations" / f"instances_{split}.json"))
            sizes[split] = len(found.imgs)
            n_objects += len(found.anns)
            for image in found.imgs.values():
                header = read_header((dataset / image["file_name"]).read_bytes())
                assert (header.width, header.height) == (image["width"], image["height"]) == (320, 180)
        assert 0 < sizes["val"] < sizes["train"]
        assert n_objects > 0
        for split, n in sizes.items():
            assert f"{n} {split}" in about
        watch.lap("read by pycocotools")

        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete the file").click()
        expect(page.get_by_text("The file of this export was deleted.")).to_be_visible()
        expect(page.get_by_label("Splits")).to_be_visible()
        page.get_by_role("link", name="Export like this").click()
        expect(form.get_by_label("Percent of train")).to_have_value("70")
        expect(form.get_by_label("also frames that are not kept")).to_be_checked()
        form.get_by_role("textbox", name=re.compile("^Only frames for which")).fill("no_such_column > 3")
        expect(form.get_by_role("alert")).to_contain_text("no_such_column")


def test_a_selection_is_made_exported_and_deleted_by_keyboard(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server), color_scheme="dark", viewport={"width": 800, "height": 900}) as page:
        page.wait_for_url("**/overview")
        go_to(page, "d", "datasets")
        page.keyboard.press("1")
        page.wait_for_url("**/selections")
        page.keyboard.press("n")
        form = page.get_by_role("form", name="New selection")
        form.get_by_label("Name").fill("few")
        form.get_by_label("Frames", exact=True).fill("5")
        expect(form.locator("pre")).to_contain_text("winnow select --name few --n 5")
        assert serious_findings(page) == []
        page.keyboard.press("Enter")
        row = page.get_by_role("row", name=re.compile("^few"))
        expect(row).to_contain_text("5")
        row.get_by_role("link", name="Export").press("Enter")
        expect(
            page.get_by_role("form", name="New export").get_by_role("combobox", name=re.compile("^Selection"))
        ).to_have_value("few")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        row.get_by_role("button", name="Delete").press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Delete the selection").press("Enter")
        expect(page.get_by_text("There are no selections yet.")).to_be_visible()
