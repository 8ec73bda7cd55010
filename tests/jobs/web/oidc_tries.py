"""Tries to sign in with a provider, as a browser makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from jobs.accounts import identities
from jobs.accounts.tables import THROTTLE
from jobs.web import oidc_settings
from tests.accounts import TESTS
from tests.jobs.web.served import API, Site
from tests.openid_provider import CLIENT, SECRET, ProviderProcess


def read(folder: Path, there: ProviderProcess, **more: Any) -> oidc_settings.OidcSettings:
    file = folder / "provider.yaml"
    (folder / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    lines = {"issuer": there.issuer, "client_id": CLIENT, "name": "Harbour", "secret_file": "secret", **more}
    file.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()), encoding="utf-8")
    return oidc_settings.read(file)


def begin(client: httpx.Client, purpose: str = "sign_in", **more: Any) -> str:
    """Begin a try in a browser, and return where the provider is."""
    answer = client.post(f"{API}/session/oidc", json={"purpose": purpose, **more})
    assert answer.status_code == 200, answer.text
    _keep(client, answer)
    address: str = answer.json()["address"]
    return address


def finish(client: httpx.Client, back: dict[str, str]) -> httpx.Response:
    body = {name: value for name, value in back.items() if name in {"code", "state", "iss"}}
    answer = client.post(f"{API}/session/oidc/finish", json=body)
    _keep(client, answer)
    return answer


def _keep(client: httpx.Client, answer: httpx.Response) -> None:
    """Keep cookies as a browser does: those of the server's name come to another port here."""
    kept = dict(part.split("=", 1) for part in client.headers.get("cookie", "").split("; ") if part)
    for line in answer.headers.get_list("set-cookie"):
        name, _, value = line.partition(";")[0].partition("=")
        kept[name] = value.strip('"')
        if "Max-Age=0" in line:
            del kept[name]
    client.cookies.clear()
    client.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())


def signed_in(site: Site, there: ProviderProcess, subject: str) -> httpx.Response:
    with site.browser() as client:
        return finish(client, there.way_back(begin(client), subject))


def linked(site: Site, subject: str, who: str = "viewer") -> None:
    assert site.settings.oidc is not None
    issuer = site.settings.oidc.issuer
    site.database.write(lambda c: identities.link(c, TESTS, site.people[who].user_id, issuer, subject))


def forget_tries(site: Site) -> None:
    site.database.write(lambda c: c.execute(THROTTLE.delete()))
