"""Output of results: tables and JSON, and a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

# Output to a file or another program is not wrapped.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 100_000)
err = Console(stderr=True, highlight=False)


def print_table(
    columns: Sequence[str] | None, rows: Iterable[Sequence[Any]], title: str | None = None, exact: bool = False
) -> None:
    """Print rows under headings; numbers to the right, with `exact` neither rounded nor with thousands separators.

    Without headings, the first value of each row names the others.
    """
    listed = [list(row) for row in rows]
    table = Table(
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
        show_header=columns is not None,
    )
    for at, name in enumerate(columns or [""] * max(map(len, listed), default=0)):
        numeric = bool(listed) and all(r[at] is None or isinstance(r[at], (int, float)) for r in listed)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(value, exact) for value in row))
    out.print(table)


def moment(ns: int) -> str:
    """Return a time, in nanoseconds since 1970, as people read it."""
    return f"{datetime.fromtimestamp(ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"


def print_tree(nodes: Sequence[tuple[str, str | None, str]]) -> None:
    """Print nodes, given as id, parent's id and text, as trees; nodes without a known parent are roots."""
    top = Tree("", hide_root=True)
    branches: dict[str, Tree] = {}
    for name, parent, text in nodes:
        branches[name] = (branches.get(parent or "") or top).add(Text(text))
    out.print(top)


def _cell(value: Any, exact: bool) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(str(value) if exact else f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:.7g}" if exact else f"{value:,.4g}")
    if isinstance(value, (list, dict)):
        return Text(json.dumps(value, default=str))
    return Text(str(value))


class _Rate(ProgressColumn):
    """Frames per second over the last 30 s."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} frames/s" if speed else "")


class TerminalProgress:
    """Shows the progress of a run on a terminal; elsewhere it is silent."""

    def __init__(self, quiet: bool = False) -> None:
        self.interrupted = False
        self.job_id: str | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._on = err.is_terminal and not quiet

    def __enter__(self) -> Self:
        if self._on:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=err, transient=True)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def on_job_claimed(self, job_id: str) -> None:
        """Remember the job."""
        self.job_id = job_id

    def on_stage_started(self, what: str, total: int | None) -> None:
        """Start a new bar."""
        if self._progress is not None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(what, total=total)

    def on_frames_done(self, frames: int) -> None:
        """Move the bar on."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, frames)
