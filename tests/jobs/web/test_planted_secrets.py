"""Secrets that are planted in every place where a server takes one, and then searched for in all that it leaves.

In no file, table, journal, log, error, answer and command line of a process is any of them; nor in what a gateway that
the server starts, and its jobs, leave.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs.storage.workspace import Workspace
from tests.helpers import write_noise_stream
from tests.openid_provider import CLIENT, SECRET, provider_process
from tests.waiting import PATIENCE_S, ended, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

_OF_ENVIRONMENT = "planted-secret-of-the-environment-93"
_PASSWORD, _NEW, _WRONG, _AS_NAME = (
    f"planted-{what}-password-93" for what in ("first", "new", "wrong", "typed-as-name")
)


def _command_lines() -> Iterator[tuple[str, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield f"process {entry.name}", (entry / "cmdline").read_bytes()
            except OSError:
                continue


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                yield str(path), path.read_bytes()
            except OSError:
                continue


def test_planted_secrets_are_found_nowhere(tmp_path: Path) -> None:
    root, place = tmp_path / "root", tmp_path / "root" / "crossing"
    Workspace.at(place).create()
    stream = write_noise_stream(tmp_path / "cam", range(8))
    with provider_process() as there:
        (tmp_path / "provider.yaml").write_text(f"issuer: {there.issuer}\nclient_id: {CLIENT}\n", encoding="utf-8")
        words = ["serve", "--root", str(root), "--no-pages", "--port", "0", "--oidc", str(tmp_path / "provider.yaml")]
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A key of another service, which jobs of the gateway may use, and the client's.
            env={**os.environ, "WINNOW_OIDC_SECRET": SECRET, "OPENAI_API_KEY": _OF_ENVIRONMENT},
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("serving at ").partition(";")[0]
            entrance = process.stdout.readline().rpartition("#")[2].strip()
            secrets, answers = _used(url, entrance, stream)
            secrets += [SECRET, _OF_ENVIRONMENT]
            # While it runs: the database writes ahead into a file of its own.
            held = [*_files(root), *_command_lines()]
            process.send_signal(2)
            code, out, errors = ended(process)
            held += [*_files(root), ("its output", out.encode()), ("its errors", errors.encode())]
            held += [(where, text.encode()) for where, text in answers]
        finally:
            process.kill()
            process.communicate()
    assert code == 0
    assert any("accounts.sqlite" in where for where, _ in held)
    assert any("journal" in where for where, _ in held)
    found = [(where, n) for where, content in held for n, each in enumerate(secrets) if each.encode() in content]
    assert found == []


def _used(url: str, entrance: str, stream: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Use a server in every way that takes or makes a secret; return the secrets, and what was answered.

    What is shown once to those whose it is, a key say, is no part of these answers.
    """
    api, secrets = f"{url}/api/v1", [entrance, _PASSWORD, _NEW, _WRONG, _AS_NAME]
    answers: list[tuple[str, str]] = []
    browsers = [httpx.Client(base_url=url, headers={"origin": url}, timeout=PATIENCE_S) for _ in range(3)]
    admin, guest, nobody = browsers

    def ask(client: httpx.Client, method: str, path: str, body: object = None) -> httpx.Response:
        answer = client.request(method, f"{api}/{path}", json=body)
        answers.append((f"{method} {path}", answer.text))
        return answer

    assert admin.post(f"{api}/session/enter", json={"token": entrance}).status_code == 200
    secrets.append(admin.cookies["winnow"])
    ask(admin, "POST", "users", {"name": "jane", "password": _PASSWORD})
    for scopes, project in ((["read", "admin"], None), (["submit"], "crossing")):
        made = admin.post(f"{api}/keys", json={"name": "k", "scopes": scopes, "project": project}).json()
        # `wnw_ID_SECRET`, of which the secret may have more of these signs.
        secrets += [made["key"], made["key"].split("_", 2)[2]]
        program = httpx.Client(headers={"authorization": f"Bearer {made['key']}"}, timeout=PATIENCE_S)
        ask(program, "GET", "projects/crossing/jobs")
        ask(program, "GET", f"users?token={made['key']}")
    invitation = admin.post(f"{api}/invitations", json={"project": "crossing", "role": "viewer"}).json()["token"]
    left = admin.post(f"{api}/invitations", json={}).json()["token"]
    ask(nobody, "POST", "invitations/check", {"token": invitation})
    ask(guest, "POST", "invitations/accept", {"token": invitation, "name": "maria", "password": _PASSWORD})
    secrets += [invitation, left, guest.cookies["winnow"]]
    ask(guest, "PATCH", "me", {"password": {"old": _WRONG, "new": _NEW}})
    ask(guest, "PATCH", "me", {"password": {"old": _PASSWORD, "new": _NEW}})
    user = next(each for each in ask(admin, "GET", "users").json()["users"] if each["name"] == "maria")
    reset = admin.post(f"{api}/users/{user['user_id']}/reset").json()["token"]
    secrets.append(reset)
    # Typed where it does not belong, of a wrong type, and in what is no JSON.
    ask(nobody, "POST", "session", {"name": "jane", "password": _WRONG})
    ask(nobody, "POST", "session", {"name": _AS_NAME, "password": "x"})
    ask(nobody, "POST", "session", {"name": "jane", "password": {"text": _WRONG}})
    ask(nobody, "POST", "session", {"name": "jane", "password": _WRONG, "again": _WRONG})
    answers.append(("no JSON", nobody.post(f"{api}/session", content=f'{{"password": "{_WRONG}').text))
    _use_provider(api, nobody, ask, secrets)
    # A job of a gateway that inherits the environment.
    assert ask(admin, "POST", "projects/crossing/gateway/start").status_code == 200
    job_id = ask(admin, "POST", "projects/crossing/jobs", {"options": {"inputs": [str(stream)]}}).json()["job_id"]
    path = f"projects/crossing/jobs/{job_id}"
    wait_until(lambda: admin.get(f"{api}/{path}").json()["state"] in {"done", "failed"}, every_s=0.2)
    assert ask(admin, "GET", path).json()["state"] == "done"
    for each in ("journal", "me", "keys", "invitations", "audit", "sessions", "identities", "projects", "openapi.json"):
        ask(admin, "GET", f"{path}/{each}" if each == "journal" else each)
    assert ask(admin, "POST", "projects/crossing/gateway/stop").status_code == 200
    return secrets, answers


def _use_provider(api: str, client: httpx.Client, ask: object, secrets: list[str]) -> None:
    """Begin to sign in with the provider, and come back with a code that it never gave."""
    begun = client.post(f"{api}/session/oidc", json={"purpose": "sign_in"})
    assert begun.status_code == 200, begun.text
    secrets.append(client.cookies["winnow-oidc"].split(".")[1])
    state = httpx.URL(begun.json()["address"]).params["state"]
    assert callable(ask)
    code = "planted-code-of-the-provider-93"
    secrets.append(code)
    refused = ask(client, "POST", "session/oidc/finish", {"code": code, "state": state})
    assert refused.status_code == 401, refused.text
