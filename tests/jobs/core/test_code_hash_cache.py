"""Tests of the cache of code hashes: it changes how long a hash takes, and never the hash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.core import code_hash_cache
from jobs.core.code_hash import code_hash
from jobs.core.code_hash_cache import folder, remembered
from jobs.core.code_names import Definition
from transforms.curate import idle

KNOWN = Definition("transforms.curate.idle", "find_idle")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    new_process()


def new_process() -> None:
    """Forget what this process has read, as a new one would not know it."""
    code_hash_cache._read.cache_clear()
    code_hash_cache._state_of_sources.cache_clear()


def counted(answer: str) -> tuple[Callable[[], str], list[str]]:
    calls: list[str] = []

    def compute() -> str:
        calls.append(answer)
        return answer

    return compute, calls


def test_a_second_process_computes_nothing() -> None:
    compute, calls = counted("0123456789abcdef")
    assert remembered([KNOWN], compute) == "0123456789abcdef"
    new_process()
    assert remembered([KNOWN], compute) == "0123456789abcdef"
    assert len(calls) == 1


def test_changed_sources_are_hashed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    remembered([KNOWN], lambda: "of the old sources")
    sources = tmp_path / "transforms"
    sources.mkdir()
    (sources / "new.py").write_text("A = 1\n")
    monkeypatch.setattr(code_hash_cache, "_HASHED", sources)
    new_process()
    assert remembered([KNOWN], lambda: "of the new sources") == "of the new sources"
    (sources / "new.py").write_text("A = 2\n")
    new_process()
    assert remembered([KNOWN], lambda: "of the newest sources") == "of the newest sources"


def test_code_of_other_packages_is_always_hashed() -> None:
    compute, calls = counted("a")
    for _ in range(2):
        remembered([KNOWN, Definition("plugin.metrics", "sharpness")], compute)
    assert len(calls) == 2
    assert not folder().exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", b"[1, 2]"])
def test_a_damaged_file_is_not_believed(damage: bytes) -> None:
    remembered([KNOWN], lambda: "right")
    (file,) = folder().glob("*.json")
    file.write_bytes(file.read_bytes().replace(b"right", b"wrong"))
    new_process()
    assert remembered([KNOWN], lambda: "right") == "right"
    file.write_bytes(damage)
    new_process()
    assert remembered([KNOWN], lambda: "right") == "right"


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where the folder would be")
    assert remembered([KNOWN], lambda: "computed") == "computed"


def test_only_the_newest_states_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(12):
        monkeypatch.setattr(code_hash_cache, "_state_of_sources", lambda number=number: f"state{number}")
        remembered([KNOWN], lambda: "hash")
        os.utime(folder() / f"state{number}.json", ns=(number, number))
    assert len([*folder().glob("*")]) == 8
    assert (folder() / "state11.json").exists()


def test_hashes_of_stages_are_the_same_with_and_without_it() -> None:
    first = code_hash([idle.find_idle])
    new_process()
    assert code_hash([idle.find_idle]) == first
    assert len([*folder().glob("*.json")]) == 1
