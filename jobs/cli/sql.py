"""`winnow sql`: queries over the tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, BinaryIO, cast, get_args

import typer

from jobs.cli.options import ReleaseOption, RunOption, WorkspaceOption
from jobs.core.choices import QueryFormat

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.views.view import View

SHOWN = 1000
"""Rows that are printed as a table."""


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT, in DuckDB's dialect; without it a prompt, or statements of standard input."),
    ] = None,
    workspace: WorkspaceOption = None,
    format_: Annotated[
        QueryFormat | None,
        typer.Option("--format", "-f", help="How to print the rows.", show_default="what --out ends in, else table"),
    ] = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    out: Annotated[str | None, typer.Option(help="Write to this file instead.", metavar="FILE")] = None,
) -> None:
    r"""Query the tables: `curated` joins everything that is known of a frame.

    Also streams, frames, quality, fingerprints, motion, idle, duplicates, curation, quarantine, runs, ...;
    NAME_all shows the rows of every configuration. As a table, the first 1,000 rows are printed; the other formats give
    all rows, as a stream.

    Without a statement, a prompt opens, with history and completion (\d lists tables, \? says more), so that many
    questions cost one start; from a pipe, statements are read that end with a semicolon.

    Example: winnow sql "SELECT unnest(reasons) AS reason, count(*) FROM curation GROUP BY 1"
    """
    from jobs.core.errors import UserError
    from jobs.storage.workspace import Workspace
    from jobs.views.sql_text import split_statements
    from jobs.views.view import View

    kind = format_ or _format_of(out)
    if out and kind == "table":
        raise UserError("--format table is for the terminal; expected json, jsonl, csv or parquet for --out")
    opened = Workspace.at(workspace)

    def view() -> View:
        # New for each statement, so that it sees what has come since the one before.
        return View.of(opened, run, release)

    if query is not None:
        _show(view(), query, kind, out)
        return
    from jobs.cli.sql_prompt import prompt, run_all

    view()
    if sys.stdin.isatty() and not out:
        prompt(view, lambda statement: _show(view(), statement, kind, None))
        return
    text = sys.stdin.read()
    if out and len(split_statements(f"{text};")[0]) != 1:
        raise UserError("--out: expected one statement on standard input, since a file holds one result")
    run_all(text, lambda statement: _show(view(), statement, kind, out))


def _show(view: View, query: str, kind: QueryFormat, out: str | None) -> None:
    """Print the result of a statement, or write it to a file."""
    if kind == "table":
        with view.stream(query) as tables:
            _print(tables)
        return
    from jobs.datasets.tabular import write

    with view.stream(query) as tables:
        if out:
            _write_file(out, lambda file: write(tables, kind, file))
        else:
            write(tables, kind, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _print(tables: Iterator[pa.Table]) -> None:
    """Print the first rows, and the number of rows if there are more."""
    from jobs.cli.show import out, print_table
    from jobs.datasets.tabular import check_values

    first = next(tables)
    rows = first.slice(0, SHOWN)
    check_values(rows, "a table")
    columns = [column.to_pylist() for column in rows.columns]
    print_table(rows.column_names, zip(*columns, strict=True), exact=True)
    n = first.num_rows + sum(more.num_rows for more in tables)
    if n > SHOWN:
        out.print(f"the first {SHOWN:,} of {n:,} rows; --format csv, or --out FILE, gives all", soft_wrap=True)


def _write_file(named: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a file that appears under its name once it is complete."""
    from jobs.core.errors import UserError
    from jobs.core.os_errors import as_problem
    from jobs.storage import paths, spare_files

    place = paths.place(named)
    target = place.on_disk()
    if target is None:
        with TemporaryFile() as file:
            write(file)
            file.seek(0)
            place.write(file.read())
        return
    spare_files.clear(target.absolute().parent, target.name, "partial")
    part = target.with_name(spare_files.spare_name(target.name, "partial"))
    try:
        opened = open(part, "wb")  # noqa: SIM115 - errors of opening the file are handled differently from errors of the rows
    except OSError as error:
        raise UserError(as_problem(error)) from error
    try:
        with opened:
            write(opened)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _format_of(out: str | None) -> QueryFormat:
    from jobs.core.errors import UserError

    if out is None:
        return "table"
    suffix = Path(out).suffix.removeprefix(".").lower()
    found = next((kind for kind in get_args(QueryFormat) if kind == suffix != "table"), None)
    if found is None:
        raise UserError(f"--out {out}: expected a name that ends in .json, .jsonl, .csv or .parquet, or --format")
    return cast("QueryFormat", found)
