"""Projects by name: names lead to folders below the root alone, and are listed for their members."""

from __future__ import annotations

import pytest

from tests.jobs.web.served import API, Site, head, raw, status_of


@pytest.mark.parametrize(
    "name", ["..", ".", "%2e%2e", "..%2fyard", "crossing%2f..%2fyard", "crossing%00", "CROSSING", "crossing ", "~", "'"]
)
def test_names_of_projects_lead_nowhere_else(shared: Site, name: str) -> None:
    for who in ("viewer", "root"):
        status = status_of(
            raw(
                shared,
                head(
                    shared,
                    f"GET {API}/projects/{name.replace(' ', '%20')}/members",
                    "Connection: close",
                    f"Cookie: {shared.client(who).headers['cookie']}",
                ),
            )
        )
        assert status in {400, 404}


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a\\b", "", "x" * 300, "a\0b", "c:", "näme", "-rf"])
def test_names_that_no_folder_should_have_are_refused(shared: Site, name: str) -> None:
    before = sorted(str(path) for path in shared.settings.root.rglob("*"))  # type: ignore[union-attr]
    assert shared.client("root").post(f"{API}/projects", json={"name": name}).status_code in {400, 422}
    after = sorted(str(path) for path in shared.settings.root.rglob("*"))  # type: ignore[union-attr]
    assert [path for path in after if "accounts.sqlite" not in path] == [
        p for p in before if "accounts.sqlite" not in p
    ]


def test_a_project_is_made_once(site: Site) -> None:
    client = site.client("root")
    assert client.post(f"{API}/projects", json={"name": "lane"}).status_code == 201
    assert client.post(f"{API}/projects", json={"name": "lane"}).status_code == 409
    assert [p["project"] for p in client.get(f"{API}/projects").json()["projects"]] == ["crossing", "lane", "yard"]
    assert [p["project"] for p in site.client("viewer").get(f"{API}/projects").json()["projects"]] == ["crossing"]
    assert site.client("viewer").get(f"{API}/projects").json()["projects"][0]["path"] is None
