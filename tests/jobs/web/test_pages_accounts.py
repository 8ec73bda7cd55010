"""Pages about people, in a real browser: entering, invitations, passwords, keys, rights, keys of the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import (
    another_entrance,
    by_keys,
    entrance,
    needs_pages,
    opened,
    place_of,
    serious_findings,
)
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
PASSWORD = "a sound of many waters"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    place = place_of(tmp_path_factory, "yard & hall")
    Workspace.at(place).create()
    with server_process(place, pages=True) as found:
        yield found


def invited(page: Page, server: ServerProcess, role: str) -> str:
    """Invite somebody on the page of an admin, and return the address to send."""
    page.goto(f"{server.url}/admin/invitations")
    page.get_by_label("Role").select_option(role)
    page.get_by_role("button", name="Invite").click()
    field = page.get_by_role("textbox", name="Address")
    expect(field).to_have_value(re.compile(r"/invite#."))
    return field.input_value()


def joined(page: Page, name: str) -> None:
    page.get_by_label("Name, to sign in with").fill(name)
    page.get_by_label(re.compile("^Password")).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url("**/overview")


def test_the_address_of_the_terminal_signs_in_once(server: ServerProcess, browser: Browser) -> None:
    address = entrance(server)
    with opened(browser, address) as page:
        page.wait_for_url("**/p/yard%20%26%20hall/overview")
        assert "#" not in page.url
    with opened(browser, address) as page:
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_role("heading", name="This address does not sign in")).to_be_visible()
        page.get_by_role("link", name="Sign in with a password").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_somebody_who_is_invited_sets_a_password_and_comes_back_with_it(
    server: ServerProcess, browser: Browser
) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        address = invited(page, server, "viewer")
    with opened(browser, address) as page:
        expect(page.get_by_text("as viewer")).to_be_visible()
        page.get_by_label("Name, to sign in with").fill("grace")
        page.get_by_label(re.compile("^Password")).fill("1234567890")
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_role("alert")).to_contain_text("password")
        joined(page, "grace")
        expect(page.get_by_role("link", name="Admin")).to_have_count(0)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Name").fill("grace")
        page.get_by_label("Password").fill("something else")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert page.get_by_label("Name").input_value() == "grace", "what was typed stays"
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/overview")
    with opened(browser, address) as page:
        expect(page.get_by_role("heading", name="This address cannot be used")).to_be_visible()


def test_who_is_disabled_is_out_at_once_and_comes_back_by_an_address(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as admin:
        admin.wait_for_url("**/overview")
        address = invited(admin, server, "reviewer")
        with opened(browser, address) as page:
            joined(page, "edsger")
            admin.goto(f"{server.url}/admin/people")
            row = admin.get_by_role("row", name=re.compile("edsger"))
            row.get_by_role("button", name="Disable").click()
            admin.get_by_role("dialog").get_by_role("button", name="Disable the account").click()
            expect(row).to_contain_text("disabled")
            page.get_by_role("link", name="Account").first.click()
            expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        row.get_by_role("button", name="Enable").click()
        row.get_by_role("button", name="Reset password").click()
        field = admin.get_by_role("textbox", name="Address")
        expect(field).to_have_value(re.compile("/invite#."))
        with opened(browser, field.input_value()) as page:
            expect(page.get_by_text("For the account edsger")).to_be_visible()
            page.get_by_label(re.compile("^Password")).fill(f"{PASSWORD}, again")
            page.get_by_role("button", name="Set password").click()
            page.wait_for_url("**/overview")


def test_the_last_admin_stays_one(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/admin/people")
        me = page.get_by_role("row", name=re.compile("you"))
        me.get_by_role("button", name="Take admin").click()
        expect(page.get_by_role("alert")).to_contain_text("admin")
        expect(me).to_contain_text("administers the server")


def test_a_key_is_shown_once_and_revoked(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        page.get_by_role("link", name="Account").first.click()
        keys = page.get_by_role("region", name="Keys")
        keys.get_by_label("Name").fill("nightly")
        keys.locator("input[value=submit]").check()
        keys.get_by_role("button", name="Make key").click()
        secret = keys.get_by_role("textbox", name="Key", exact=True)
        expect(secret).to_have_value(re.compile("^wnw_"))
        key = secret.input_value()
        expect(keys.get_by_role("row", name=re.compile("nightly"))).to_contain_text("read, submit")
        page.reload()
        expect(keys.get_by_role("row", name=re.compile("nightly"))).to_be_visible()
        assert key not in page.content()
        keys.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke the key").click()
        expect(keys.get_by_role("row", name=re.compile("nightly"))).to_have_count(0)


def test_the_sheet_lists_the_keys_that_work(server: ServerProcess, browser: Browser) -> None:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        page.keyboard.press("?")
        sheet = page.get_by_role("dialog", name="Keys")
        expect(sheet).to_contain_text("g then m")
        page.keyboard.press("Escape")
        expect(sheet).to_have_count(0)
        by_keys(page, "m", "account")
        page.get_by_label("Name that others see").fill("g j?")
        assert page.url.endswith("/account"), "what is typed into a field is text"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(server: ServerProcess, browser: Browser, scheme: str) -> None:
    with opened(browser, f"{server.url}/", color_scheme=scheme) as page:
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        found = {"sign-in": serious_findings(page)}
        page.goto(another_entrance(server))
        page.wait_for_url("**/overview")
        for part in ("account", "admin/people", "admin/invitations", "admin/keys", "admin/members", "admin/audit"):
            page.goto(f"{server.url}/{part}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_load_state("load")
            found[part] = serious_findings(page)
    assert {place: each for place, each in found.items() if each} == {}
