"""Rights in a real browser: a viewer who tries everything, two admins at once, a session that is ended elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from jobs.storage.workspace import Workspace
from tests.jobs.web.browsing import another_entrance, needs_pages, opened, place_of, serious_findings
from tests.web_process import ServerProcess, server_process

pytestmark = needs_pages
PASSWORD = "a sound of many waters"

# What somebody does who opens the tools of their browser, and calls what its pages never offer to them.
_TRY_ALL = """async (project) => {
  const documented = await (await fetch('/api/v1/openapi.json')).json();
  const found = [];
  for (const [path, methods] of Object.entries(documented.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      if (['nobody', 'person', 'viewer'].includes(about['x-winnow-role'])) continue;
      const filled = path.replaceAll('{project}', encodeURIComponent(project)).replace(/\\{[^}]+\\}/g, 'start');
      const headers = { 'content-type': 'application/json' };
      const body = ['get', 'head'].includes(method) ? {} : { body: '{}', headers };
      const answer = await fetch(filled, { method: method.toUpperCase(), ...body });
      found.push([`${method.toUpperCase()} ${path}`, answer.status]);
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    place = place_of(tmp_path_factory, "yard")
    Workspace.at(place).create()
    with server_process(place, pages=True) as found:
        yield found


def _add(server: ServerProcess, browser: Browser, name: str, role: str | None = None) -> None:
    """Have the admin of the terminal add somebody: a member of the project, or an admin of the server."""
    with opened(browser, another_entrance(server)) as page:
        page.wait_for_url("**/overview")
        made: Any = page.evaluate(
            """async ([name, password, role]) => {
              const send = (method, path, body) => fetch(`/api/v1/${path}`, { method, body: JSON.stringify(body),
                headers: { 'content-type': 'application/json' } });
              const user = await (await send('POST', 'users', { name, password, is_admin: role === null })).json();
              return role === null ? 200
                : (await send('PUT', `projects/yard/members/${user.user_id}`, { role })).status;
            }""",
            [name, PASSWORD, role],
        )
        assert made == 200


def _sign_in(page: Page | Locator, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_viewer_who_tries_everything_gets_nowhere(server: ServerProcess, browser: Browser) -> None:
    _add(server, browser, "vera", "viewer")
    with opened(browser, f"{server.url}/") as page:
        _sign_in(page, "vera")
        page.wait_for_url("**/overview")
        tried = page.evaluate(_TRY_ALL, "yard")
        assert len(tried) > 30
        assert [each for each in tried if each[1] != 403] == []
        # Of projects that there are not, and of those of others, nothing is shown.
        assert {status for name, status in page.evaluate(_TRY_ALL, "no-such") if "{project}" in name} <= {403, 404}
        assert page.evaluate("fetch('/api/v1/users').then(answer => answer.text())").find("vera") == -1
        page.goto(f"{server.url}/admin/people")
        expect(page.get_by_text("There is no such page")).to_be_visible()
        for part in ("jobs", "frames", "overview"):
            page.goto(f"{server.url}/p/yard/{part}")
            expect(page.get_by_role("link", name="Admin")).to_have_count(0)
        assert serious_findings(page) == []


def test_of_two_admins_who_take_each_others_rights_one_stays(server: ServerProcess, browser: Browser) -> None:
    _add(server, browser, "ada")
    _add(server, browser, "bob")
    click = "(name) => setTimeout(() => [...document.querySelectorAll('tr')].find(row => row.innerText.includes(name))"
    click += ".querySelectorAll('button').forEach(b => b.innerText.includes('Take admin') && b.click()), 300)"
    with opened(browser, f"{server.url}/admin/people") as one, opened(browser, f"{server.url}/admin/people") as other:
        for page, name in ((one, "ada"), (other, "bob")):
            _sign_in(page, name)
            expect(page.get_by_role("row", name=re.compile("bob"))).to_contain_text("administers the server")
        one.evaluate(click, "bob")
        other.evaluate(click, "ada")
        with opened(browser, another_entrance(server)) as root:
            root.wait_for_url("**/overview")
            root.goto(f"{server.url}/admin/people")
            rows = [root.get_by_role("row", name=re.compile(name)) for name in ("ada", "bob")]
            expect(root.get_by_role("table")).to_contain_text("ada")

            def administer() -> list[bool]:
                root.reload()
                expect(rows[0]).to_be_visible()
                return ["administers the server" in row.inner_text() for row in rows]

            while all(found := administer()):
                root.wait_for_timeout(100)
            assert sorted(found) == [False, True]


def test_a_session_that_is_ended_elsewhere_keeps_what_was_typed(server: ServerProcess, browser: Browser) -> None:
    _add(server, browser, "eve", "annotator")
    with opened(browser, f"{server.url}/account") as here, opened(browser, f"{server.url}/account") as there:
        for page in (here, there):
            _sign_in(page, "eve")
            expect(page.get_by_role("region", name="Sessions")).to_be_visible()
        there.get_by_label("Name that others see").fill("Eve of the yard")
        here.reload()
        rows = here.get_by_role("region", name="Sessions").get_by_role("row")
        expect(rows).to_have_count(3)
        here.get_by_role("button", name="End", exact=True).click()
        expect(rows).to_have_count(2)
        there.get_by_role("button", name="Change name").click()
        dialog = there.get_by_role("dialog", name="Sign in again")
        expect(dialog).to_be_visible()
        assert serious_findings(there) == []
        _sign_in(dialog, "eve")
        expect(dialog).to_have_count(0)
        assert there.get_by_label("Name that others see").input_value() == "Eve of the yard"
        there.get_by_role("button", name="Change name").click()
        expect(there.get_by_role("status").filter(has_text="Your name is changed.")).to_be_visible()
