"""Checks of `winnow doctor` for lost data: tables at recorded versions, and records of jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import schemas
from jobs.core.errors import BrokenTableError, UserError, one_line
from jobs.core.naming import many
from jobs.diagnostics.finding import Finding, broken_table
from jobs.records.job_log import JobLog, jobs_of
from jobs.storage.maintenance import KEPT_RUNS
from jobs.storage.paths import Place
from jobs.storage.store import Store
from jobs.views.snapshot_spec import gone

_READERS = 4
_COMPUTED = "bring it back from a backup, or, if no release is needed any more, run the streams again to recompute it"
_GIVEN = "bring it back from a backup"
_REMADE = frozenset({schemas.STREAMS, schemas.LISTING, schemas.QUARANTINE, schemas.HEADS, schemas.SCOPES})
"""Tables that every run writes to, beside those of its stages."""


def tables(store: Store) -> Iterator[Finding]:
    """Compare the versions that the last run of each stream, heads and releases recorded with the tables now.

    Of runs before the last ones it is noted only that they cannot be read any more, as after a table was recreated.
    """
    finished = _finished(store)
    heads = store.read(schemas.HEADS, ("stage", "job_id")).to_pylist()
    releases = store.read(schemas.RELEASES, ("name", "manifest", "job_id")).to_pylist()
    last = set({stream: name for name, run in finished.items() for stream in run["streams"]}.values())
    lost: set[str] = set()
    for name in sorted(last, reverse=True):
        versions = json.loads(finished[name]["versions"])
        yield from _younger(store, f"run {name}", versions, lost)
        yield from _unreadable(store, {table: n for table, n in versions.items() if table not in lost})
    for release in releases:
        yield from _younger(store, f"release {release['name']}", json.loads(release["manifest"])["tables"], lost)
    yield from _hidden(store, heads, lost)
    yield from _forgotten(store, [*heads, *releases])
    if lost:
        return
    recent = [name for name in list(finished)[-KEPT_RUNS:] if name not in last]
    if gone := [n for n in recent if any(_behind(store, json.loads(finished[n]["versions"])))]:
        text = f"{many(len(gone), 'run')} before the last cannot be read as they ended: {', '.join(gone)}"
        yield Finding("earlier runs", "note", text, "tables were recreated since; an earlier backup has them")


def _behind(store: Store, versions: Mapping[str, int]) -> Iterator[tuple[schemas.Table, int, int]]:
    """Yield the tables that are younger than they were, or gone, with both versions."""
    for name, recorded in versions.items():
        # Tables that only a later version of the program has are not checked by this one.
        if (table := schemas.BY_NAME.get(name)) and (now := store.open(table).version) < recorded:
            yield table, recorded, now


def _younger(store: Store, who: str, versions: Mapping[str, int], lost: set[str]) -> Iterator[Finding]:
    for table, recorded, now in _behind(store, versions):
        if table.name not in lost:
            lost.add(table.name)
            state = "gone" if now < 0 else f"at version {now}"
            text = f"table {table.name} is {state}, and was at version {recorded} in {who}"
            # No run recomputes what a release has frozen.
            computed = who.startswith("run ") and (table.has_stage_key or table in _REMADE)
            yield Finding("tables", "broken", text, _COMPUTED if computed else _GIVEN)


def _unreadable(store: Store, versions: Mapping[str, int]) -> Iterator[Finding]:
    """Yield the tables that cannot be read at versions that are not the newest, whose entries lack something."""
    for name, recorded in versions.items():
        table = schemas.BY_NAME.get(name)
        if table and store.open(table).version != recorded:
            try:
                Store(store.root, {name: recorded}).open(table)
            except BrokenTableError as error:
                yield broken_table("tables", error)


def _hidden(store: Store, heads: Sequence[Mapping[str, Any]], lost: set[str]) -> Iterator[Finding]:
    """Yield the tables that are not there though heads show what a stage wrote to them."""
    for stage in sorted({head["stage"] for head in heads}):
        written = {table.name for table in schemas.of_stage(stage)}
        if not written & lost and (text := gone(store, stage)):
            lost |= written
            yield Finding("tables", "broken", text, _COMPUTED)


def _forgotten(store: Store, naming: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield what is wrong with the tables of runs, which no run records, where heads, releases and jobs know more."""
    named = {row["job_id"] for row in naming if row["job_id"]}
    seen = _finished(store, as_seen=True)
    done = {name for name in jobs_of(store.root) if name not in seen and _is_done(store, name)}
    # Read once more, since a run may have finished just now; it writes to the tables first.
    finished = _finished(store)
    known = {row["job_id"] for row in store.read(schemas.RUNS, ("job_id",)).to_pylist()}
    if unknown := (named - known) | (done - finished.keys()):
        text = f"table runs does not know the end of {many(len(unknown), 'run')} that were done, as of {max(unknown)}"
        yield Finding("tables", "broken", text, _GIVEN)
    if known and store.open(schemas.STAGE_RUNS).version < 0:
        yield Finding("tables", "broken", "table stage_runs is gone, and runs know of their stages from it", _GIVEN)


def _finished(store: Store, as_seen: bool = False) -> dict[str, dict[str, Any]]:
    """Return the runs that recorded versions, by their ids in order."""
    runs = store.read(schemas.RUNS, ("job_id", "streams", "versions"), as_seen).sort_by("job_id").to_pylist()
    return {run["job_id"]: run for run in runs if run["versions"]}


def _is_done(store: Store, job_id: str) -> bool:
    try:
        state = JobLog(store.root, job_id).state()
    except (UserError, OSError):
        return False
    return state is not None and state.state == "done"


def jobs(root: Place) -> Iterator[Finding]:
    """Read the records of all jobs."""

    def damage(job_id: str) -> str | None:
        try:
            numbers = [record.number for record in JobLog(root, job_id).records()]
        except FileNotFoundError:
            # Cleared just now.
            return None
        except (UserError, OSError) as error:
            return one_line(error)
        absent = sorted(set(range(1, len(numbers) + 1)) - set(numbers))
        return f"job {job_id} lacks its record {absent[0]:06}.json" if absent else None

    names = jobs_of(root)
    with ThreadPoolExecutor(_READERS) as readers:
        for job_id, wrong in zip(names, readers.map(damage, names), strict=True):
            if wrong:
                fix = f"bring it back from a backup, or delete {root / 'jobs' / job_id}; the tables keep its rows"
                yield Finding("jobs", "broken", wrong, fix)
