"""Signing in with a provider, in a real browser: an invitation, the way back, an account that is linked."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import another_entrance, needs_pages, opened, place_of, serious_findings
from tests.openid_provider import CLIENT, SECRET, ProviderProcess, provider_process
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
PASSWORD = "a sound of many waters"


@pytest.fixture(scope="module")
def there() -> Iterator[ProviderProcess]:
    with provider_process() as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, there: ProviderProcess) -> Iterator[ServerProcess]:
    place = place_of(tmp_path_factory, "yard")
    Workspace.at(place).create()
    folder = tmp_path_factory.mktemp("provider")
    (folder / "secret").write_text(SECRET, encoding="utf-8")
    file = folder / "provider.yaml"
    file.write_text(
        f"issuer: {there.issuer}\nclient_id: {CLIENT}\nname: Harbour\nsecret_file: secret\n", encoding="utf-8"
    )
    with server_process(place, "--oidc", str(file), pages=True) as found:
        yield found


def _at_the_provider(page: Page, subject: str) -> None:
    page.get_by_label("Who are you").fill(subject)
    page.get_by_role("button", name="Continue").click()


def _invited(server: ServerProcess, browser: Browser, role: str) -> str:
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/admin/invitations")
        page.get_by_label("Role").select_option(role)
        page.get_by_role("button", name="Invite").click()
        field = page.get_by_role("textbox", name="Address")
        expect(field).to_have_value(re.compile(r"/invite#."))
        return field.input_value()


def test_who_is_invited_joins_without_a_password_and_comes_back(
    server: ServerProcess, browser: Browser, there: ProviderProcess
) -> None:
    address = _invited(server, browser, "annotator")
    with opened(browser, address) as page:
        page.get_by_role("button", name="Join with Harbour, without a password").click()
        expect(page.get_by_role("alert")).to_contain_text("name: choose one first")
        page.get_by_label("Name, to sign in with").fill("grace")
        assert serious_findings(page) == []
        page.get_by_role("button", name="Join with Harbour, without a password").click()
        _at_the_provider(page, "grace-there")
        page.wait_for_url("**/overview")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in with Harbour")).to_be_visible()
        assert serious_findings(page) == []
        page.goto(f"{server.url}/account")
        page.get_by_role("button", name="Sign in with Harbour").click()
        _at_the_provider(page, "grace-there")
        # Where they wanted to go.
        page.wait_for_url("**/account")
        region = page.get_by_role("region", name="Other ways to sign in")
        expect(region).to_contain_text("grace-there")
        assert serious_findings(page) == []
        region.get_by_role("button", name="Unlink").click()
        page.get_by_role("dialog").get_by_role("button", name="Unlink the identity").click()
        expect(page.get_by_role("dialog")).to_contain_text("this is the only way in to your account")


def test_who_has_an_account_links_it_while_signed_in(
    server: ServerProcess, browser: Browser, there: ProviderProcess
) -> None:
    address = _invited(server, browser, "viewer")
    with opened(browser, address) as page:
        page.get_by_label("Name, to sign in with").fill("edsger")
        page.get_by_label(re.compile("^Password")).fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        page.wait_for_url("**/overview")
        page.goto(f"{server.url}/account")
        page.get_by_role("button", name="Link Harbour").click()
        _at_the_provider(page, "edsger-there")
        page.wait_for_url("**/account")
        region = page.get_by_role("region", name="Other ways to sign in")
        expect(region).to_contain_text("edsger-there")
        assert (
            page.evaluate("[localStorage, sessionStorage].flatMap(Object.keys).filter(k => !k.includes('theme'))") == []
        )
        region.get_by_role("button", name="Unlink").click()
        page.get_by_role("dialog").get_by_role("button", name="Unlink the identity").click()
        expect(region).not_to_contain_text("edsger-there")


def test_what_the_provider_refuses_is_shown_and_the_code_is_not_in_the_address(
    server: ServerProcess, browser: Browser, there: ProviderProcess
) -> None:
    with opened(browser, f"{server.url}/oidc?error=access_denied&error_description=call+us+now") as page:
        expect(page.get_by_role("alert")).to_have_text(re.compile("the provider did not sign you in: access_denied"))
        assert "call us" not in page.content()
        assert page.url == f"{server.url}/oidc"
        page.get_by_role("link", name="Back to signing in").click()
        page.get_by_role("button", name="Sign in with Harbour").click()
        _at_the_provider(page, "nobody-here")
        expect(page.get_by_role("alert")).to_contain_text("nobody here has this identity of Harbour")
        assert page.url == f"{server.url}/oidc"
