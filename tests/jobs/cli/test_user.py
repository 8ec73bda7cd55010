"""`winnow user`: accounts of a server, and those that are there to try one."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.accounts.database import Database
from jobs.core.errors import UserError
from jobs.storage.workspace import Workspace
from jobs.web.serve import database_of, serve
from jobs.web.settings import Settings
from tests.helpers import said, winnow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Workspace.at(tmp_path / "root" / "crossing").create()
    return tmp_path / "root"


def test_accounts_to_try_a_server_with_have_passwords_that_are_printed_once(root: Path) -> None:
    first = said(winnow("user", "demo", "--root", root, "--json"))
    assert [(made["name"], made["role"]) for made in first] == [
        ("demo-viewer", "viewer"),
        ("demo-annotator", "annotator"),
        ("demo-reviewer", "reviewer"),
        ("demo-admin", "admin"),
    ]
    again = said(winnow("user", "demo", "--root", root, "--json"))
    passwords = [made["password"] for made in (*first, *again)]
    assert len(set(passwords)) == 8
    assert min(len(password) for password in passwords) == 16
    stored = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert not any(password.encode() in stored for password in passwords)
    assert "password" not in str(said(winnow("user", "list", "--root", root, "--json")))


def test_a_server_that_others_reach_does_not_start_with_them(root: Path) -> None:
    winnow("user", "demo", "--root", root)
    others = {"public_url": "https://winnow.example.org", "trusted_proxy": ("127.0.0.1",)}
    with pytest.raises(UserError, match="`winnow user disable demo-admin`, and 3 more"):
        serve(Settings(root=root, port=0, has_pages=False, **others), lambda _: None)  # type: ignore[arg-type]


def test_the_list_says_who_is_disabled(root: Path) -> None:
    winnow("user", "demo", "--root", root)
    assert winnow("user", "disable", "demo-viewer", "--root", root).exit_code == 0
    found = {person["name"]: person["disabled"] for person in said(winnow("user", "list", "--root", root, "--json"))}
    assert found == {"demo-admin": False, "demo-annotator": False, "demo-reviewer": False, "demo-viewer": True}


def test_a_password_that_others_guess_makes_no_account(root: Path) -> None:
    database: Database = database_of(Settings(root=root))
    result = winnow("user", "add", "jane", "--root", root, "--password-stdin")
    assert isinstance(result.exception, UserError)
    assert result.exception.problems == ["password: expected at least 10 characters, found 0"]
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar() == 0
    database.close()
