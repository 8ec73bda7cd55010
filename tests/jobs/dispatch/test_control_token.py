from __future__ import annotations

from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.dispatch import control_token
from jobs.storage.paths import place

TOKEN = "correct-horse-battery"


def is_protected(root: Path) -> bool:
    return (root / "jobs/token.json").exists()


def test_a_workspace_that_asks_for_no_token_takes_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(control_token.VARIABLE, "whatever")
    control_token.check(place(tmp_path))
    assert not is_protected(tmp_path)


def test_the_right_token_opens_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(control_token.VARIABLE, TOKEN)
    control_token.protect(place(tmp_path))
    control_token.check(place(tmp_path))
    for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü" * 20):
        monkeypatch.setenv(control_token.VARIABLE, wrong)
        with pytest.raises(UserError, match="is not the control token") as refused:
            control_token.check(place(tmp_path))
        assert wrong not in str(refused.value)
    monkeypatch.delenv(control_token.VARIABLE)
    with pytest.raises(UserError, match=f"set {control_token.VARIABLE}"):
        control_token.check(place(tmp_path))


def test_the_token_is_stored_only_as_a_salted_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(control_token.VARIABLE, TOKEN)
    control_token.protect(place(tmp_path / "a"))
    control_token.protect(place(tmp_path / "b"))
    kept = [path.read_bytes() for path in sorted(tmp_path.rglob("token.json"))]
    assert len(set(kept)) == 2
    assert not any(TOKEN.encode() in data or TOKEN.encode().hex().encode() in data for data in kept)


def test_removing_a_token_requires_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(control_token.VARIABLE, TOKEN)
    control_token.protect(place(tmp_path))
    with pytest.raises(UserError, match="asks for this token already"):
        control_token.protect(place(tmp_path))
    monkeypatch.setenv(control_token.VARIABLE, "another-horse-battery")
    with pytest.raises(UserError, match="is not the control token"):
        control_token.unprotect(place(tmp_path))
    monkeypatch.setenv(control_token.VARIABLE, TOKEN)
    control_token.unprotect(place(tmp_path))
    assert not is_protected(tmp_path)


def test_a_short_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(control_token.VARIABLE, "short")
    with pytest.raises(UserError, match="expected at least 16 characters, found 5"):
        control_token.protect(place(tmp_path))
    assert not is_protected(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"text",
        b"\xff",
        b'{"salt": "zz", "hash": "00", "n": 16384, "r": 8, "p": 1}',
        b'{"salt": "00", "hash": "00", "n": 16384, "r": 8, "p": 1}',
        b'{"salt": "00", "hash": "00", "n": 3, "r": 8, "p": 1}',
    ],
)
def test_a_damaged_token_file_lets_nobody_in_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv(control_token.VARIABLE, TOKEN)
    control_token.protect(place(tmp_path))
    path = tmp_path / "jobs" / "token.json"
    path.write_bytes(content)
    for ask in (control_token.check, control_token.protect, control_token.unprotect):
        with pytest.raises(UserError, match="is damaged") as refused:
            ask(place(tmp_path))
        assert str(path) in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1
        assert refused.value.exit_code == 2
    assert path.read_bytes() == content


def test_a_token_that_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python has what the environment says in bytes that are no UTF-8.
    monkeypatch.setenv(control_token.VARIABLE, "\udcff" * 20)
    with pytest.raises(UserError, match=f"{control_token.VARIABLE} is no text in UTF-8"):
        control_token.protect(place(tmp_path))
    assert not is_protected(tmp_path)
    monkeypatch.setenv(control_token.VARIABLE, TOKEN)
    control_token.protect(place(tmp_path))
    monkeypatch.setenv(control_token.VARIABLE, "\udcff" * 20)
    with pytest.raises(UserError, match=f"{control_token.VARIABLE} is no text in UTF-8"):
        control_token.check(place(tmp_path))
