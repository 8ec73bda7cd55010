"""`winnow sql`."""

from __future__ import annotations

import sys
from enum import StrEnum
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
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print the rows.")] = Format.table,
    run: RunOption = None,
    release: ReleaseOption = None,
    out: Annotated[str | None, typer.Option(help="Write to this file instead.", metavar="FILE")] = None,
) -> None:
    """Query the tables: `curated` joins all that is known of a frame.

    Also streams, frames, quality, fingerprints, motion, idle, duplicates, curation, quarantine, runs, ...;
    NAME_all shows the rows of every configuration.

    Example: winnow sql "SELECT unnest(reasons) AS reason, count(*) FROM curation GROUP BY 1"
    """
    from jobs.query import View
    from jobs.workspace import Workspace

    rows = View.of(Workspace.at(workspace), run, release).sql(query)
    if format_ is Format.table:
        from jobs.cli.show import print_table

        print_table(rows.column_names, (list(r.values()) for r in rows.to_pylist()))
        return
    from jobs.tabular import render

    data = render(rows, format_.value)
    if out:
        from pathlib import Path

        Path(out).write_bytes(data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
