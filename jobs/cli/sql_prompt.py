"""The prompt of `winnow sql`: statements up to a semicolon, with history and completion of tables and columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import schemas
from jobs.cli.show import out, print_table
from jobs.core.errors import UserError, one_line
from jobs.views.sql_text import split_statements
from jobs.views.view import View

_PROMPT, _MORE = "winnow> ", "     -> "
_MOST_HISTORY = 2000
_HELP = r"""A statement ends with a semicolon and may have several lines. Ctrl-C discards it, Ctrl-D or \q ends.
  \d         tables and views
  \d NAME    columns of one of them
  \?         this text"""
_VIEWS = {
    "curated": "One row per frame with the columns of every per-frame table.",
    "objects": "Annotations as vision language models and reviewers corrected them.",
    "objects_by_models": "The same without reviews.",
    "reviewed_frames": "Frames that a person has reviewed.",
}
_WORDS = ("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "count(*)", "unnest(", "JOIN", "USING", "HAVING")

Run = Callable[[str], None]
"""Runs one statement and prints its result. Raises `UserError`."""


def run_all(text: str, run: Run) -> None:
    """Run the statements of a text; the last one need not end in a semicolon. The first error ends it."""
    found, rest = split_statements(text)
    statements = [*found, *([rest] if rest else [])]
    if not statements:
        raise UserError("standard input holds no statement; expected SELECT …, each ended by a semicolon")
    for statement in statements:
        run(statement)


def prompt(view: Callable[[], View], run: Run) -> None:
    """Read statements from the terminal and run each, until it is closed; errors are printed and end nothing."""
    keep_history = _prepare_lines()
    out.print(r"Statements end with ; \? says more", highlight=False, markup=False)
    kept = ""
    try:
        while True:
            try:
                line = input(_MORE if kept else _PROMPT)
            except KeyboardInterrupt:
                kept = ""
                sys.stdout.write("\n")
                continue
            except EOFError:
                sys.stdout.write("\n")
                return
            if not kept and line.strip().startswith("\\"):
                if line.strip() in {r"\q", r"\quit"}:
                    return
                _guarded(lambda line=line: _describe(view, line.strip().split()))  # type: ignore[misc]
                continue
            statements, kept = split_statements(f"{kept}\n{line}" if kept else line)
            for statement in statements:
                if not _guarded(lambda statement=statement: run(statement)):  # type: ignore[misc]
                    break
    finally:
        keep_history()


def _guarded(act: Callable[[], None]) -> bool:
    """Do something, and print what went wrong, if anything; return whether all went well."""
    try:
        act()
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
    except BrokenPipeError:
        raise
    except UserError as error:
        for problem in error.problems:
            sys.stderr.write(f"error: {one_line(problem)}\n")
    except (RuntimeError, OSError) as error:
        # DuckDB raises the first for a query that was interrupted.
        sys.stderr.write(f"error: {one_line(error)}\n")
    else:
        return True
    finally:
        sys.stderr.flush()
    return False


def _describe(view: Callable[[], View], words: Sequence[str]) -> None:
    if words[0] in {r"\?", r"\h", r"\help"}:
        out.print(_HELP, markup=False)
        return
    if words[0] != r"\d" or len(words) > 2:
        raise UserError(rf"{' '.join(words)}: expected \d, \d NAME, \? or \q")
    if len(words) == 1:
        tables = {table.name: table.doc for table in schemas.ALL} | _VIEWS
        print_table(["name", "what"], sorted(tables.items()))
        return
    name = words[1].rstrip(";").lower()
    columns = view().sql(f'SELECT * FROM "{name}" LIMIT 0').schema
    docs = {column.name: column.doc for table in schemas.ALL for column in table.columns}
    docs |= {column.name: column.doc for column in _columns_of(name)}
    print_table(["column", "type", "what"], [(f.name, str(f.type), docs.get(f.name, "")) for f in columns])


def _columns_of(name: str) -> tuple[schemas.Column, ...]:
    table = schemas.BY_NAME.get(name.removesuffix("_all"))
    return table.columns if table else ()


def names_for(line: str, begin: str) -> list[str]:
    r"""Return what may complete a word that begins so: after `\d` and FROM tables, else columns, tables and keywords.

    >>> names_for(r"\d cura", "cura")
    ['curated', 'curation']
    """
    tables = [*(table.name for table in schemas.ALL), *_VIEWS, *(f"{table.name}_all" for table in schemas.ALL)]
    before = line[: len(line) - len(begin)].split()
    of_tables = bool(before) and before[-1].lower() in {"from", "join", "\\d"}
    columns = {column.name for table in schemas.ALL for column in table.columns}
    pool = tables if of_tables else [*sorted(columns), *tables, *_WORDS]
    return sorted({name for name in pool if name.lower().startswith(begin.lower())})


def _prepare_lines() -> Callable[[], None]:
    """Give `input` history and completion, where Python has readline; return what writes the history."""
    try:
        import readline
    except ImportError:
        return lambda: None
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "winnow" / "sql_history"
    with suppress(OSError):
        readline.read_history_file(place)
    readline.set_history_length(_MOST_HISTORY)
    found: list[str] = []

    def complete(begin: str, number: int) -> str | None:
        if number == 0:
            found[:] = names_for(readline.get_line_buffer()[: readline.get_endidx()], begin)
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n,;()=<>+-*/'\".")
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")

    def keep() -> None:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            # What was asked may name people and places.
            place.touch(mode=0o600)
            readline.write_history_file(place)

    return keep
