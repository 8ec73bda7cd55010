"""Checks of `winnow doctor` for lost data: tables at recorded versions, and records of jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import schemas
from jobs.core.errors import BrokenTableError, UserError, one_line
from jobs.core.naming import many
from jobs.diagnostics.finding import Finding, broken_table
from jobs.records.job_log import JobLog, jobs_of
from jobs.records.job_tables import of_job
from jobs.records.numbered_records import Record
from jobs.storage import delta_log
from jobs.storage.delta_log import fix_of_loss
from jobs.storage.maintenance import KEPT_RUNS
from jobs.storage.paths import Place
from jobs.storage.store import Store
from jobs.storage.written_versions import Written
from jobs.views.snapshot_spec import gone

_READERS = 4
_GIVEN = "bring it back from a backup"


def all_tables(store: Store) -> Iterator[Finding]:
    """Read the logs of all tables, and compare what these hold with all that was recorded of them."""
    yield from (unreadable := list(opened(store)))
    if unreadable:
        return
    try:
        yield from tables(store)
    except (OSError, BrokenTableError) as error:
        text = f"{one_line(error)} is missing" if isinstance(error, FileNotFoundError) else error
        yield broken_table("tables", text if isinstance(text, BrokenTableError) else f"{text}; {_GIVEN}")


def opened(store: Store, some: Sequence[schemas.Table] = schemas.ALL) -> Iterator[Finding]:
    """Open tables, which compares each with the record of what was written, and read all entries of their logs."""
    for table in some:
        try:
            newest = store.open(table).version
        except BrokenTableError as error:
            yield broken_table("tables", error, table.name)
            continue
        for entry, message in delta_log.damaged_entries(store.root / table.name, newest):
            found = entry.status()
            damaged_ns = int(found.mtime_s * 1e9) if found else 0
            if not store.written.is_accepted(table.name, damaged_ns):
                yield broken_table("tables", message, table.name)


def tables(store: Store) -> Iterator[Finding]:
    """Compare what jobs, the last run of each stream, heads and releases recorded with the tables now.

    Of runs before the last ones it is noted only that they cannot be read any more, as after a table was recreated.
    """
    finished = _finished(store)
    heads = store.read(schemas.HEADS, ("stage", "job_id", "moved_ns")).to_pylist()
    releases = store.read(schemas.RELEASES, ("name", "manifest", "job_id", "created_ns")).to_pylist()
    last = set({stream: name for name, run in finished.items() for stream in run["streams"]}.values())
    lost: set[str] = set()
    for name in sorted(last, reverse=True):
        versions = _still_claimed(store, json.loads(finished[name]["versions"]), finished[name]["ended_ns"])
        yield from _younger(store, f"run {name}", versions, lost)
        yield from _unreadable(store, {table: n for table, n in versions.items() if table not in lost})
    for release in releases:
        versions = json.loads(release["manifest"])["tables"]
        claimed = _still_claimed(store, versions, release["created_ns"])
        yield from _younger(store, f"release {release['name']}", claimed, lost)
        if given_up := sorted(versions.keys() - claimed.keys()):
            text = f"release {release['name']} lacks what it had of {', '.join(given_up)}, whose loss was accepted"
            yield Finding("releases", "note", text, "a backup from before has it")
    yield from _recorded(store, lost)
    yield from _hidden(store, heads, lost)
    yield from _forgotten(store, [*heads, *releases])
    if lost:
        return
    recent = [name for name in list(finished)[-KEPT_RUNS:] if name not in last]
    if gone := [n for n in recent if any(_behind(store, json.loads(finished[n]["versions"])))]:
        text = f"{many(len(gone), 'run')} before the last cannot be read as they ended: {', '.join(gone)}"
        yield Finding("earlier runs", "note", text, "tables were recreated since; an earlier backup has them")


def last_record_ns(store: Store, table: schemas.Table) -> int:
    """Return when the last record of what tables have was written: of jobs, runs, heads, releases, a log."""
    times = [record.at_ns for job_id in jobs_of(store.root) for record in _records(store, job_id)]
    for naming, column in ((schemas.RUNS, "ended_ns"), (schemas.HEADS, "moved_ns"), (schemas.RELEASES, "created_ns")):
        # One that is lost as well has nothing to say.
        with suppress(BrokenTableError):
            times += [ns for ns in store.read(naming, (column,))[column].to_pylist() if ns is not None]
    log = store.root / table.name / "_delta_log"
    found = [(log / name).status() for name in log.names() if name.endswith(".json")]
    times += [int(status.mtime_s * 1e9) for status in found if status]
    return max(times, default=0)


def _behind(store: Store, versions: Mapping[str, int]) -> Iterator[tuple[schemas.Table, int, int]]:
    """Yield the tables that are younger than they were, or missing, with both versions."""
    for name, recorded in versions.items():
        # Tables that only a later version of the program has are not checked by this one.
        if (table := schemas.BY_NAME.get(name)) and (now := store.open(table).version) < recorded:
            yield table, recorded, now


def _younger(store: Store, who: str, versions: Mapping[str, int], lost: set[str]) -> Iterator[Finding]:
    for table, recorded, now in _behind(store, versions):
        if table.name not in lost:
            lost.add(table.name)
            state = "missing" if now < 0 else f"at version {now}"
            text = f"table {table.name} is {state}, and was at version {recorded} in {who}"
            # No run recomputes what a release has frozen.
            fix = fix_of_loss(table.name, is_computed=None if who.startswith("run ") else False)
            yield Finding("tables", "broken", text, fix, table.name)


def _still_claimed(store: Store, versions: Mapping[str, int], recorded_ns: int) -> dict[str, int]:
    """Return the recorded versions without those whose loss was accepted since (ns since 1970)."""
    return {name: n for name, n in versions.items() if not store.written.is_accepted(name, recorded_ns)}


def _recorded(store: Store, lost: set[str]) -> Iterator[Finding]:
    """Yield the tables that lack what the workspace and the last jobs recorded: versions, and their rows and files."""
    record = store.written.newest()
    who = {name: ("as it was recorded", one) for name, one in record.items()}
    last = [(job_id, job) for job_id in jobs_of(store.root)[-KEPT_RUNS:] if (job := of_job(_records(store, job_id)))]
    for job_id, (at_ns, tables_then) in last:
        for name, one in tables_then.items():
            if not store.written.is_accepted(name, at_ns) and (name not in who or who[name][1].version < one.version):
                who[name] = (f"at the end of job {job_id}", one)
    for name, (when, written) in sorted(who.items()):
        if name not in lost and name in schemas.BY_NAME and (text := _differs(store, schemas.BY_NAME[name], written)):
            lost.add(name)
            yield Finding("tables", "broken", f"{text}, {when}", fix_of_loss(name), name)
    if last and not record:
        text = f"the record of what was written to the tables is missing ({store.root / 'written'})"
        # What was written after the last job is known from it alone: a table of that kind may be missing, too.
        fix = f"{_GIVEN}; where every table has what it should have, the next run writes it again"
        yield Finding("tables", "broken", text, fix)


def _differs(store: Store, table: schemas.Table, written: Written) -> str | None:
    """Return what a table lacks of what was recorded of it; None if it has all of that."""
    now = store.open(table)
    had = f"was at version {written.version} with {many(written.n_rows, 'row')}"
    if now.version < written.version:
        return f"table {table.name} is {'missing' if now.version < 0 else f'at version {now.version}'}, and {had}"
    try:
        then = now if now.version == written.version else Store(store.root, {table.name: written.version}).open(table)
    except BrokenTableError as error:
        return one_line(error).partition("; ")[0]
    if Written.of(then.state) != written:
        return f"table {table.name} has other rows at version {written.version} ({then.state.n_rows:,}), and {had}"
    return None


def _records(store: Store, job_id: str) -> list[Record]:
    try:
        return JobLog(store.root, job_id).records()
    except (UserError, OSError):
        # `jobs` says what is wrong with them.
        return []


def _unreadable(store: Store, versions: Mapping[str, int]) -> Iterator[Finding]:
    """Yield the tables that cannot be read at versions that are not the newest, whose entries lack something."""
    for name, recorded in versions.items():
        table = schemas.BY_NAME.get(name)
        if table and store.open(table).version != recorded:
            try:
                Store(store.root, {name: recorded}).open(table)
            except BrokenTableError as error:
                yield broken_table("tables", error, name)


def _hidden(store: Store, heads: Sequence[Mapping[str, Any]], lost: set[str]) -> Iterator[Finding]:
    """Yield the tables that are not there though heads show what a stage wrote to them."""
    for stage in sorted({head["stage"] for head in heads}):
        written = {table.name for table in schemas.of_stage(stage)}
        if not written & lost and (text := gone(store, stage)):
            lost |= written
            for name in sorted(written):
                yield Finding("tables", "broken", text, fix_of_loss(name), name)


def _forgotten(store: Store, naming: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield what is wrong with the tables of runs, which no run records, where heads, releases and jobs know more."""
    accepted_ns = store.written.accepted_ns.get(schemas.RUNS.name, 0)
    named = {r["job_id"] for r in naming if r["job_id"] and r.get("moved_ns", r.get("created_ns", 0)) > accepted_ns}
    seen = _finished(store, as_seen=True)
    done = {name for name in jobs_of(store.root) if name not in seen and _done_ns(store, name) > accepted_ns}
    # Read once more, since a run may have finished just now; it writes to the tables first.
    finished = _finished(store)
    known = {row["job_id"] for row in store.read(schemas.RUNS, ("job_id",)).to_pylist()}
    if unknown := (named - known) | (done - finished.keys()):
        text = f"table runs does not know the end of {many(len(unknown), 'run')} that were done, as of {max(unknown)}"
        yield Finding("tables", "broken", text, fix_of_loss("runs"), "runs")
    stages = schemas.STAGE_RUNS
    if known and store.open(stages).version < 0 and stages.name not in store.written.accepted_ns:
        text = "table stage_runs is missing, and runs know of their stages from it"
        yield Finding("tables", "broken", text, fix_of_loss(stages.name), stages.name)


def _finished(store: Store, as_seen: bool = False) -> dict[str, dict[str, Any]]:
    """Return the runs that recorded versions, by their ids in order."""
    wanted = ("job_id", "streams", "versions", "ended_ns")
    runs = store.read(schemas.RUNS, wanted, as_seen).sort_by("job_id").to_pylist()
    return {run["job_id"]: run for run in runs if run["versions"]}


def _done_ns(store: Store, job_id: str) -> int:
    """Return when a run was done (ns since 1970), by its records; -1 if it was not, and for jobs that are no runs."""
    records = _records(store, job_id)
    if any(record.word == "submitted" and record.data.get("kind", "run") != "run" for record in records):
        return -1
    return max((record.at_ns for record in records if record.word == "done"), default=-1)


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
