"""What commands print as next steps can be pasted."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from jobs.cli import next_steps
from tests.helpers import winnow, write_noise_stream


def steps(output: str) -> list[list[str]]:
    """Return the words of each command below `try next:`, without the program."""
    _, found, below = output.partition("try next:\n")
    assert found, output
    lines = [shlex.split(line) for line in below.splitlines() if line.strip()]
    assert all(words[0] == "winnow" for words in lines)
    return [words[1:] for words in lines]


@pytest.mark.usefixtures("engine")
def test_every_next_step_can_be_pasted_where_it_was_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")
    cam = write_noise_stream(tmp_path / "cam", range(8))
    # The workspace is given from here; commands name all of it.
    queue = steps(
        winnow(
            "run",
            "-i",
            cam,
            "-w",
            "my tables",
            "--set",
            "stages=[+annotate]",
            "--set",
            "annotate.detector=motion",
        ).stdout
    )
    assert [words[0] for words in queue] == ["report", "release"]
    tried: list[list[str]] = []
    while queue:
        words = queue.pop(0)
        assert words[words.index("-w") + 1] == str(tmp_path / "a b/my tables")
        if any(words[:2] == before[:2] for before in tried):
            continue
        tried.append(words)
        result = winnow(*words)
        assert result.exception is None, (words, result.exception)
        queue += steps(result.stdout) if "try next:" in result.stdout else []
    assert {words[0] for words in tried} == {"report", "release", "select", "export"}
    assert ["release", "show"] in [words[:2] for words in tried]


@pytest.mark.usefixtures("engine")
def test_a_name_that_is_suggested_for_a_release_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cam = write_noise_stream(tmp_path / "cam", range(3))
    for name in ("v1", "v2"):
        create = steps(winnow("run", "-i", cam).stdout)[-1]
        assert create[-1] == name
        assert winnow(*create).exit_code == 0
    exported = winnow("export", "--format", "jsonl", "--out", "set")
    assert steps(exported.stdout) == [["release", "create", "-w", str(tmp_path / ".winnow"), "v3"]]


def test_the_program_is_named_so_that_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "env/bin/winnow")])
    monkeypatch.chdir(tmp_path)
    assert next_steps.program() == "env/bin/winnow"
    (tmp_path / "deep/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/below")
    assert next_steps.program() == str(tmp_path / "env/bin/winnow")
