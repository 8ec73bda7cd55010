"""Runs what the documents show: their ```console and ```python blocks, each document in a folder of its own.

A block below a line that is the name of a file and a colon is the file's text.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli.program import program
from jobs.core.errors import UserError
from jobs.engine.ray_engine import Engine
from tests.helpers import copy_stream, noise, write_noise_stream, write_pictures
from tests.reference import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^`([\w-]+\.(?:yaml|py))`:\n\n```(?:yaml|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"  # exit code (\d+)$")


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the lines that the document shows below it."""

    line: str
    shown: list[str]


def commands(text: str) -> Iterator[Command]:
    for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *shown = block.rstrip("\n").split("\n")
        yield Command(line, [s for s in shown if s.strip() and s.strip() != "…"])


def normal(line: str) -> str:
    """Return a line without what differs from run to run: numbers, places, widths."""
    line = re.sub(r"\d{8}-\d{6}-\w{7}", "ID", line)
    line = re.sub(r"\S*/(?=winnow-demo|frames)", "", line)
    line = re.sub(r"\d[\d,.]*", "0", line)
    return re.sub(r"\s+", " ", line).strip()


def assert_happens(command: Command, where: str) -> None:
    expected = int(found[1]) if (found := _EXIT.search(command.line)) else 0
    words = shlex.split(_EXIT.sub("", command.line))
    if words[0] == "make":
        # What the target runs, without installing anything once more.
        words = {"demo": ["winnow", "demo"]}[words[1]]
    assert words[0] == "winnow", f"{where}: {command.line}"
    result = CliRunner().invoke(program(), words[1:], env={"COLUMNS": "120"})
    code = result.exception.exit_code if isinstance(result.exception, UserError) else result.exit_code
    assert code == expected, f"{where}: {command.line}\n{result.output}\n{result.exception!r}"
    problems = result.exception.problems if isinstance(result.exception, UserError) else []
    printed = {normal(line) for line in [*result.output.splitlines(), *problems, *(f"error: {p}" for p in problems)]}
    for line in command.shown:
        assert normal(line) in printed, f"{where}: {command.line}\nshows   {line}\nprinted {result.output}"


@pytest.fixture
def place(tmp_path: Path, sample_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with frames of two cameras in it, and of one that stands still in a yard, which is the current one."""
    copy_stream(sample_folder, tmp_path / "frames/cam1")
    write_noise_stream(tmp_path / "frames/cam2", range(20))
    yard = [noise(1, 180, 320) // 2 for _ in range(24)]
    for at, picture in enumerate(yard):
        picture[60:84, 5 * at : 5 * at + 24] = 240
    write_pictures(tmp_path / "yard", yard)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WINNOW_WORKSPACE", raising=False)
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples_in_documents_give_the_shown_output(document: Path, place: Path, engine: Engine) -> None:
    names: dict[str, object] = {}
    page = document.read_text(encoding="utf-8")
    for file, text in _FILE.findall(page):
        (place / file).write_text(text, encoding="utf-8")
    for number, (kind, text) in enumerate(_BLOCK.findall(page), 1):
        where = f"{document.name}, block {number}"
        if kind == "python":
            exec(compile(text, where, "exec"), names)
        else:
            for command in commands(text):
                assert_happens(command, where)


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_names_every_document() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for document in DOCUMENTS[1:]:
        assert os.path.relpath(document, ROOT) in readme
