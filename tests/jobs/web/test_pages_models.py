"""Trainings and models in the browser: a form that becomes a job, charts of known figures, promotion with evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.evaluation import promotion
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import by_keys, entrance, needs_pages, opened, serious_findings
from tests.training_material import evaluated, labelled_workspace, placed, trained, trained_further
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages

SHARES = (0.0, 1.0, 0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with two trainings of known figures, and two versions that were measured and compared."""
    workspace = labelled_workspace(tmp_path_factory.mktemp("models"))
    one, two = placed(workspace, "yard", 0.41), placed(workspace, "yard", 0.62)
    evaluated(workspace, (one, 0.5))
    promotion.promote(Store(workspace.root), one.reference, by="ann", reason="the first")
    evaluated(workspace, (one, 0.5), (two, 0.9))
    return workspace


@pytest.fixture(scope="module")
def server(place: Workspace) -> Iterator[ServerProcess]:
    """Return a server of it."""
    with server_process(place.folder, pages=True) as found:
        yield found


def submit_training(page: Page) -> None:
    """Fill in the form, count what there is to learn from, and submit it."""
    page.get_by_label("Name of the model").fill("shapes")
    page.locator("#set-size").fill("32")
    page.get_by_text("Further options").click()
    page.locator("#set-split_by").select_option("group")
    page.locator("#set-split").fill("train=0.7, val=0.2")
    page.get_by_role("button", name="Pre-flight", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("add up to 1")
    page.locator("#set-split").fill("train=0.64, val=0.2, test=0.16")
    page.get_by_role("button", name="Pre-flight", exact=True).click()
    flight = page.get_by_role("region", name="Pre-flight")
    expect(flight.get_by_role("row", name=re.compile("^disc"))).to_be_visible()
    expect(flight).to_contain_text("winnow train --release v1")
    apply = flight.get_by_role("button", name=re.compile("^Apply size"))
    size = apply.inner_text().split()[-1]
    apply.click()
    expect(page.locator("#set-size")).to_have_value(size)
    assert serious_findings(page) == []
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/models/trainings/2*")
    expect(page.get_by_label("About the training")).to_contain_text("pending")


def test_trainings_and_models_in_the_browser(server: ServerProcess, place: Workspace, browser: Browser) -> None:
    job_id, _ = trained(place, "known", SHARES, batch=4)
    other, asked = trained(place, "known", (0.0,), is_done=False, batch=8, epochs=4)
    with opened(browser, entrance(server)) as page:
        page.wait_for_url("**/overview")
        by_keys(page, "l", "models")
        expect(page.get_by_role("link", name="yard@2")).to_be_visible()
        page.keyboard.press("n")
        submit_training(page)

        page.keyboard.press("2")
        page.wait_for_url("**/models/trainings")
        row = page.get_by_role("row", name=re.compile(job_id))
        expect(row).to_contain_text("3 of 3")
        expect(row).to_contain_text("1.000 at 2")
        row.get_by_role("link", name="known").click()
        chart = page.get_by_role("slider", name=re.compile("^Average precision"))
        chart.press("ArrowLeft")
        expect(chart).to_have_attribute("aria-valuetext", re.compile("epoch 2: AP 1, AP50 1, AP75 1"))
        chart.press("Home")
        expect(chart).to_have_attribute("aria-valuetext", re.compile("epoch 1: AP 0"))
        samples = page.get_by_role("region", name="Samples")
        expect(samples.locator("img")).to_have_count(8)
        samples.get_by_role("button", name="Best").click()
        expect(samples).to_contain_text("after epoch 2 of 3")
        expect(samples.get_by_text(re.compile("^0 objects"))).to_have_count(0)
        assert serious_findings(page) == []

        page.keyboard.press("2")
        for each in (job_id, other):
            page.get_by_role("checkbox", name=f"Compare known {each}").check()
        page.get_by_role("button", name="Compare 2").click()
        differ = page.get_by_role("region", name="How they differ")
        expect(differ.get_by_role("row", name=re.compile("^batch 4 8|^batch 8 4"))).to_be_visible()
        expect(differ.get_by_role("row", name=re.compile("^size"))).to_have_count(0)

        differ.get_by_role("link", name=re.compile(other[-6:])).click()
        about = page.get_by_label("About the training")
        expect(about).to_contain_text(re.compile("running.*1 of 4"))
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        # Live: nobody reloads the page.
        trained_further(place, other, asked, (1.0,), first=2)
        expect(about).to_contain_text(re.compile("2 of 4.*best epoch ?2"))
        expect(chart).to_have_attribute("aria-valuetext", re.compile("epoch 2: AP 1"))

        page.keyboard.press("1")
        page.get_by_role("link", name="yard@2").click()
        clauses = page.get_by_role("list", name="Clauses")
        expect(clauses.get_by_role("listitem").filter(has_text="better")).to_contain_text("holds")
        expect(page.get_by_role("region", name="Evaluation")).to_contain_text("better: AP differs by +0.5")
        assert serious_findings(page) == []
        # Somebody else is first: the page has seen another champion.
        promotion.promote(Store(place.root), "yard@2", by="bob")
        promotion.promote(Store(place.root), "yard@1", by="bob", force="not yet")
        promotion.promote(Store(place.root), "yard@2", by="bob", reason="now")
        page.get_by_role("button", name="Promote @2 to champion").click()
        expect(page.get_by_role("alert")).to_contain_text("yard@champion is version 2 by now")
        page.get_by_role("button", name="Show how it is now").click()
        expect(page.get_by_role("heading", name="It is the champion")).to_be_visible()
        history = page.get_by_role("region", name="History")
        expect(history.get_by_role("row")).to_have_count(5)
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(history.get_by_role("row")).to_have_count(6)
        history.get_by_label("at", exact=True).fill("2020-01-01T00:00:00")
        expect(history.get_by_role("status")).to_have_text("None was champion then.")

        page.keyboard.press("Escape")
        page.keyboard.press("3")
        page.wait_for_url("**/models/frames")
        first = page.get_by_role("region", name=re.compile("^Frame ")).first
        expect(first).to_contain_text(re.compile("[1-9] difference"))
        expect(first.locator("img")).to_have_count(3)
        assert serious_findings(page) == []
