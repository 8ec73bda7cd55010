"""`winnow sql`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import ReleaseOption, RunOption, WorkspaceOption


class Format(StrEnum):
    """How a result is printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's dialect.")],
    workspace: WorkspaceOption = None,
    format_: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="How to print the rows.", show_default="what --out ends in, else table"),
    ] = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    out: Annotated[str | None, typer.Option(help="Write to this file instead.", metavar="FILE")] = None,
) -> None:
    """Query the tables: `curated` joins all that is known of a frame.

    Also streams, frames, quality, fingerprints, motion, idle, duplicates, curation, quarantine, runs, ...;
    NAME_all shows the rows of every configuration.

    Example: winnow sql "SELECT unnest(reasons) AS reason, count(*) FROM curation GROUP BY 1"
    """
    from jobs.errors import UserError
    from jobs.query import View
    from jobs.workspace import Workspace

    kind = format_ or _format_of(out)
    if out and kind is Format.table:
        raise UserError("--format table is for the terminal; expected json, jsonl, csv or parquet for --out")
    rows = View.of(Workspace.at(workspace), run, release).sql(query)
    if kind is Format.table:
        from jobs.cli.show import print_table

        columns = [column.to_pylist() for column in rows.columns]
        print_table(rows.column_names, zip(*columns, strict=True), exact=True)
        return
    from jobs.datasets.tabular import render

    data = render(rows, kind.value)
    if out:
        from jobs.storage import places

        places.write(places.place(out), data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _format_of(out: str | None) -> Format:
    from jobs.errors import UserError

    if out is None:
        return Format.table
    suffix = Path(out).suffix.removeprefix(".").lower()
    if suffix not in set(Format) - {Format.table}:
        raise UserError(f"--out {out}: expected a name that ends in .json, .jsonl, .csv or .parquet, or --format")
    return Format(suffix)
