"""Uploads in a real browser: files are sent, one is cut off and continued after a reload, and a run is begun on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from jobs.storage.workspace import Workspace
from tests.helpers import scenery, write_clip
from tests.jobs.uploads.padded_clip import padded_clip
from tests.jobs.web.browsing import chromium, entrance, needs_pages, opened, serious_findings
from tests.jobs.web.browsing import place_of as new_place
from tests.web_process import server_process

pytestmark = needs_pages


def choose(page: Page, *files: Path) -> None:
    page.locator("input[type=file]").first.set_input_files([str(each) for each in files])


def test_files_are_sent_continued_and_run_on(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    clip = padded_clip(tmp_path / "match.mp4", 24 << 20)
    small = write_clip(tmp_path / "small.mp4", scenery(4))
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(b"#EXTM3U\nother.ts\n")
    place = new_place(tmp_path_factory, "arena")
    Workspace.at(place).create()
    with server_process(place, pages=True) as server, chromium() as browser, opened(browser, entrance(server)) as page:
        page.get_by_role("link", name="Uploads", exact=True).click()
        expect(page.get_by_text("Nothing was sent yet")).to_be_visible()
        assert serious_findings(page) == []
        listed = page.get_by_role("region", name="Uploads", exact=True)
        choose(page, small, fake)
        expect(listed.get_by_role("row", name=re.compile("small.mp4.*ready.*h264"))).to_be_visible()
        expect(listed.get_by_text("found a text")).to_be_visible()
        # A slow network, so that the page is reloaded in the middle.
        session = page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 2 << 20}
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", slow)
        choose(page, clip)
        data = place / "uploads/records"
        expect(page.get_by_role("progressbar", name="Sent of match.mp4")).to_be_visible()
        while not any(each.stat().st_size > 2 << 20 for each in data.glob("*/data.mp4")):
            page.wait_for_timeout(50)
        session.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
        page.reload()
        expect(listed.get_by_role("row", name=re.compile("match.mp4.*incomplete"))).to_be_visible()
        expect(page.get_by_text("1 upload incomplete")).to_be_visible()
        choose(page, clip)
        row = listed.get_by_role("row", name=re.compile("match.mp4.*ready"))
        expect(row).to_be_visible()
        assert len(list(data.iterdir())) == 3
        assert (place / "uploads/files/match.mp4").read_bytes() == clip.read_bytes()
        row.get_by_role("button", name="Use as input").click()
        expect(page.get_by_role("textbox", name=re.compile("^Folders and clips"))).to_have_value("upload:match.mp4")
