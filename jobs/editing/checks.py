"""Checks of reviews in the browser: events in the tables, and in the app database of a server next to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from sqlalchemy import inspect

import schemas
from jobs.accounts.database import Database, engine_of
from jobs.core.naming import many
from jobs.diagnostics.finding import Finding
from jobs.editing import recovery
from jobs.editing.publication import progress
from jobs.editing.tables import PROGRESS
from jobs.review.decisions import IMAGE_KEY, SEEN
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View

SUBJECT = "reviews"

AppDatabase = tuple[Path, str]
"""The file of an app database, and the name of the project in it."""


def examine(workspace: Workspace, databases: Sequence[AppDatabase]) -> Iterator[Finding]:
    """Yield findings about edits in the browser; nothing where there are none. Reads only.

    `databases`: those that a server may have for this workspace; files that are not there are skipped.
    """
    snapshot = Store(workspace.root).open(schemas.REVIEW_EVENTS)
    found = list(_of_tables(workspace)) if snapshot.n_rows else []
    for file, project in databases:
        if file.is_file():
            found += _of_database(file, project, workspace)
    if snapshot.n_rows and not found:
        found.append(Finding(SUBJECT, "ok", f"{many(snapshot.n_rows, 'event')} of edits, each once and in order"))
    yield from found


def _of_tables(workspace: Workspace) -> Iterator[Finding]:
    view = View.of(workspace)
    events = view.lazy(schemas.REVIEW_EVENTS.name).select("seq", "event_id", "revision", "state", *IMAGE_KEY).collect()
    n, last = events.height, int(events["seq"].max() or 0)  # type: ignore[arg-type]
    if n != last or events["seq"].n_unique() != n:
        yield Finding(SUBJECT, "broken", f"expected events 1 to {last:,}, found {n:,}", "restore review_events")
    chains = events.group_by(IMAGE_KEY).agg(pl.len(), last=pl.col("revision").max(), n=pl.col("revision").n_unique())
    broken = chains.filter((pl.col("len") != pl.col("last") + 1) | (pl.col("n") != pl.col("len"))).height
    if broken:
        yield Finding(
            SUBJECT, "broken", f"{many(broken, 'frame', 'have')} a gap in their revisions", "restore review_events"
        )
    states = events.sort("seq").group_by(IMAGE_KEY, maintain_order=True).agg(pl.col("state").last())
    now = view.lazy("frames").filter(status="ok").select(IMAGE_KEY).collect()
    seen = view.lazy(schemas.REVIEWS.name).filter(decision=SEEN).select(IMAGE_KEY).collect()
    imported = view.lazy("reviewed_frames").select(IMAGE_KEY).collect()
    approved = states.filter(state="approved").join(now, on=list(IMAGE_KEY), how="semi")
    missing = approved.join(pl.concat([seen, imported]), on=list(IMAGE_KEY), how="anti").height
    if missing:
        fix = "a server that runs publishes it within seconds; if none does, start `winnow serve`"
        yield Finding(SUBJECT, "note", f"{missing:,} approved frames are not in `reviews` yet", fix)


def _of_database(file: Path, project: str, workspace: Workspace) -> Iterator[Finding]:
    database = Database(engine_of(f"sqlite:///{file}"))
    try:
        with database.read() as connection:
            if not inspect(connection).has_table(PROGRESS.name):
                return
            done, last = progress(connection, project)
            gaps = list(recovery.gaps(connection, project))
        _, in_tables = recovery.lost_events(database, project, workspace)
    finally:
        database.close()
    for gap in gaps:
        yield Finding(SUBJECT, "broken", gap, "restore the app database from a backup")
    if last < in_tables:
        found = f"the app database has {many(last, 'event')}, the tables have {in_tables:,}"
        yield Finding(SUBJECT, "broken", found, "`winnow serve --recover` takes the others over from the tables")
    elif last > max(done, in_tables):
        fix = "a server that runs publishes them within seconds; if none does, start `winnow serve`"
        n = last - max(done, in_tables)
        found = "the tables lack the last event" if n == 1 else f"the tables lack the last {n:,} events"
        yield Finding(SUBJECT, "note", found, fix)
    elif in_tables < done:
        found = f"{many(done, 'event', 'were')} published, the tables have {in_tables:,}"
        yield Finding(SUBJECT, "broken", found, "the workspace is older than the app database: restore both together")
