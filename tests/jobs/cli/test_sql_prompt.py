"""The prompt of `winnow sql` on a terminal of its own, and statements from a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.cli.sql_prompt import names_for
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompt")
    go(Workspace.at(folder / "tables"), write_noise_stream(folder / "cam", range(4)))
    return folder / "tables"


def piped(tables: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "jobs.cli", "sql", "-w", str(tables), *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_statements_are_read_from_a_pipe(tables: Path) -> None:
    done = piped(tables, "SELECT count(*) AS n FROM frames;\nSELECT ';' AS\ntext", "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"n": 4}, {"text": ";"}]


def test_the_first_error_of_a_pipe_ends_it(tables: Path) -> None:
    done = piped(tables, "SELECT 1 AS a; SELECT nothing FROM frames; SELECT 2 AS b;", "--format", "jsonl")
    assert done.returncode == 2
    assert done.stdout.splitlines() == ['{"a": 1}']
    assert done.stderr.startswith("error: SQL: ")
    assert piped(tables, " -- nothing\n").returncode == 2


def test_a_file_takes_one_statement(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    assert piped(tables, "SELECT 1; SELECT 2;", "--out", str(out)).returncode == 2
    assert not out.exists()
    assert piped(tables, "SELECT 1 AS a;\n", "--out", str(out)).returncode == 0
    assert out.read_text().split() == ["a", "1"]


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, tables: Path, home: Path) -> None:
        own, theirs = pty.openpty()
        self._own = own
        environment = os.environ | {"TERM": "dumb", "XDG_CACHE_HOME": str(home), "COLUMNS": "200"}
        command = [sys.executable, "-P", "-m", "jobs.cli", "sql", "-w", str(tables)]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),  # noqa: PLW1509
        )  # fmt: skip
        os.close(theirs)

    def until(self, said: str, again: str = "") -> str:
        """Return what is printed up to a text, which has to come; `again` is typed while nothing does."""
        found = ""
        end = time.monotonic() + PATIENCE_S
        while not re.search(said, found):
            assert time.monotonic() < end, found
            if select.select([self._own], [], [], 10)[0]:
                found += os.read(self._own, 4096).decode()
            elif again:
                self.type(again)
        return found

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())


@pytest.fixture
def terminal(tables: Path, tmp_path: Path) -> Iterator[Callable[[], Terminal]]:
    started: list[Terminal] = []

    def start() -> Terminal:
        started.append(Terminal(tables, tmp_path))
        started[-1].until("winnow> ")
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_the_prompt_takes_statements_until_it_is_closed(terminal: Callable[[], Terminal], tmp_path: Path) -> None:
    on = terminal()
    on.type("SELECT count(*)\n")
    on.until("-> ")
    on.type("AS many FROM frames;\n")
    assert re.search(r"many\s+4\s", on.until("winnow> "))
    # An error keeps the prompt.
    on.type("SELECT nothing FROM frames;\n")
    assert "error: SQL: " in on.until("winnow> ")
    # Ctrl-C discards what was typed.
    on.type("SELECT 'never")
    on.until("never")
    # Between two keys, Python's `input` notices it with the next one only.
    on.type("\x03")
    on.until("winnow> ", again="\x03")
    on.type("SELECT 7 AS seven;\n")
    assert re.search(r"seven\s+7\s", on.until("winnow> "))
    on.type("\\d quality\n")
    assert "laplacian_var" in on.until("winnow> ")
    on.type("\\d\n")
    assert "One row per frame with the columns" in on.until("winnow> ")
    on.type("\\x\n")
    assert "expected \\d" in on.until("winnow> ")
    on.type("\x04")
    assert on.process.wait(PATIENCE_S) == 0
    history = tmp_path / "winnow" / "sql_history"
    assert "SELECT 7 AS seven;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_names_are_completed(terminal: Callable[[], Terminal]) -> None:
    on = terminal()
    on.type("SELECT max(laplac\t) AS most FROM qual\t;\n")
    assert re.search(r"most\s+[\d.]+", on.until("winnow> "))
    on.type("\\q\n")
    assert on.process.wait(PATIENCE_S) == 0


def test_after_from_come_tables_and_elsewhere_columns() -> None:
    assert names_for("SELECT * FROM cura", "cura") == ["curated", "curation", "curation_all"]
    assert "laplacian_var" in names_for("SELECT lap", "lap")
    assert names_for("sel", "sel")[-1] == "selections_all" or "SELECT" in names_for("sel", "sel")
