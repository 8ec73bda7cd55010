from __future__ import annotations

from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.operations import access

TOKEN = "correct-horse-battery"


def test_a_workspace_that_asks_for_no_token_takes_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.VARIABLE, "whatever")
    access.require(tmp_path)
    assert not access.is_required(tmp_path)


def test_the_right_token_opens_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    access.demand(tmp_path)
    access.require(tmp_path)
    for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü" * 20):
        monkeypatch.setenv(access.VARIABLE, wrong)
        with pytest.raises(UserError, match="is not the control token") as refused:
            access.require(tmp_path)
        assert wrong not in str(refused.value)
    monkeypatch.delenv(access.VARIABLE)
    with pytest.raises(UserError, match=f"set {access.VARIABLE}"):
        access.require(tmp_path)


def test_no_file_holds_the_token_and_equal_tokens_leave_unlike_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    access.demand(tmp_path / "a")
    access.demand(tmp_path / "b")
    kept = [path.read_bytes() for path in sorted(tmp_path.rglob("token.json"))]
    assert len(set(kept)) == 2
    assert not any(TOKEN.encode() in data or TOKEN.encode().hex().encode() in data for data in kept)


def test_only_who_knows_a_token_may_drop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    access.demand(tmp_path)
    with pytest.raises(UserError, match="asks for this token already"):
        access.demand(tmp_path)
    monkeypatch.setenv(access.VARIABLE, "another-horse-battery")
    with pytest.raises(UserError, match="is not the control token"):
        access.drop(tmp_path)
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    access.drop(tmp_path)
    assert not access.is_required(tmp_path)


def test_a_short_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(access.VARIABLE, "short")
    with pytest.raises(UserError, match="expected at least 16 characters, found 5"):
        access.demand(tmp_path)
    assert not access.is_required(tmp_path)


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
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    access.demand(tmp_path)
    path = tmp_path / "jobs" / "token.json"
    path.write_bytes(content)
    for ask in (access.require, access.demand, access.drop):
        with pytest.raises(UserError, match="is damaged") as refused:
            ask(tmp_path)
        assert str(path) in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1
        assert refused.value.exit_code == 2
    assert path.read_bytes() == content


def test_a_token_that_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python has what the environment says in bytes that are no UTF-8.
    monkeypatch.setenv(access.VARIABLE, "\udcff" * 20)
    with pytest.raises(UserError, match=f"{access.VARIABLE} is no text in UTF-8"):
        access.demand(tmp_path)
    assert not access.is_required(tmp_path)
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    access.demand(tmp_path)
    monkeypatch.setenv(access.VARIABLE, "\udcff" * 20)
    with pytest.raises(UserError, match=f"{access.VARIABLE} is no text in UTF-8"):
        access.require(tmp_path)
