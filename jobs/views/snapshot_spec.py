"""Choice of table versions and stage keys: the current ones, those of a run, or those of a release."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow.compute as pc

import schemas
from jobs.core.errors import BrokenTableError, UnknownJobError, UserError
from jobs.core.naming import counted_back
from jobs.records.job_log import jobs_of
from jobs.storage.store import Store

_VERSIONED = tuple(t for t in schemas.ALL if t.name not in {"runs", "stage_runs", "releases", "models", "splits"})


@dataclass(frozen=True)
class Selection:
    """Table versions, and for every stage the stage key that each stream is read under.

    `versions` is None for tables as they are now; `given_up` are tables that were lost since these were recorded.
    `rules` are the conditions, by stage and stream, that rows have to fulfil besides: what chose the frames that a
    model was shown.
    """

    versions: Mapping[str, int] | None
    keys: Mapping[str, Mapping[str, str]]
    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    given_up: frozenset[str] = frozenset()

    @property
    def streams(self) -> list[str]:
        """Return the streams that have rows in the selection."""
        return sorted({stream for keys in self.keys.values() for stream in keys})

    def only(self, streams: Collection[str]) -> Selection:
        """Return the same selection of some streams. Raises `UserError` for streams that it does not have."""
        if unknown := sorted(set(streams) - set(self.streams)):
            there_are = ", ".join(self.streams) or "none yet"
            raise UserError([f"there is no stream {name!r}; there are: {there_are}" for name in unknown])
        keys = {stage: {s: key for s, key in of.items() if s in streams} for stage, of in self.keys.items()}
        rules = {stage: {s: rule for s, rule in of.items() if s in streams} for stage, of in self.rules.items()}
        return replace(
            self, keys={n: of for n, of in keys.items() if of}, rules={n: of for n, of in rules.items() if of}
        )

    def manifest(self) -> dict[str, Any]:
        """Return the selection as plain values: versions, and streams grouped by the stage keys they share."""
        groups: dict[str, list[str]] = {}
        for stream in self.streams:
            stages = {stage: keys[stream] for stage, keys in sorted(self.keys.items()) if stream in keys}
            rules = {stage: own[stream] for stage, own in sorted(self.rules.items()) if stream in own}
            shared = {"stages": stages} | ({"rules": rules} if rules else {})
            groups.setdefault(json.dumps(shared), []).append(stream)
        return {
            "tables": dict(sorted((self.versions or {}).items())),
            "selections": [json.loads(shared) | {"streams": names} for shared, names in sorted(groups.items())],
        }

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any], given_up: frozenset[str] = frozenset()) -> Selection:
        """Return the selection that `manifest` described."""
        keys: dict[str, dict[str, str]] = {}
        rules: dict[str, dict[str, str]] = {}
        for group in manifest["selections"]:
            for stage, key in group["stages"].items():
                keys.setdefault(stage, {}).update(dict.fromkeys(group["streams"], key))
            for stage, rule in group.get("rules", {}).items():
                rules.setdefault(stage, {}).update(dict.fromkeys(group["streams"], rule))
        return cls(dict(manifest["tables"]), keys, rules, given_up)


def current(store: Store) -> Selection:
    """Return what the heads show now."""
    keys: dict[str, dict[str, str]] = {}
    rules: dict[str, dict[str, str]] = {}
    for row in store.read(schemas.HEADS, ("stream_id", "stage", "stage_key", "rule")).to_pylist():
        keys.setdefault(row["stage"], {})[row["stream_id"]] = row["stage_key"]
        if row["rule"]:
            rules.setdefault(row["stage"], {})[row["stream_id"]] = row["rule"]
    return Selection(None, keys, rules)


def pinned(store: Store) -> Selection:
    """Return what the heads show now, at the present table versions."""
    # In this order: a head moves after the rows that it shows were committed.
    shown = current(store)
    return Selection(versions(store), shown.keys, shown.rules)


def gone(store: Store, stage: str) -> str | None:
    """Return what to say of the tables of a stage that has heads, or None if one of them is there.

    All have to be gone: a later version of the program may have given a stage one more.
    """
    written = schemas.of_stage(stage)
    if not written or any(store.open(table).version >= 0 for table in written):
        return None
    return f"table {', '.join(table.name for table in written)} is missing, though heads show what stage {stage} wrote"


def versions(store: Store) -> dict[str, int]:
    """Return the present version of every table that a selection pins, and that is there."""
    return _known({table.name: store.open(table).version for table in _VERSIONED})


def versions_seen(store: Store) -> dict[str, int]:
    """Return the versions that a store has last seen or made, and of tables that it never read the newest ones."""
    there = set(store.root.folders())
    return _known({t.name: store.version_of(t) for t in _VERSIONED if t.name in there})


def _known(found: Mapping[str, int]) -> dict[str, int]:
    return {name: version for name, version in found.items() if version >= 0}


def of_run(store: Store, job_id: str) -> Selection:
    """Return what a finished run ended with. Raises `UserError` for one that is unknown or did not finish."""
    run = find_run(store, job_id)
    if run["versions"] is None:
        raise UserError(
            f"run {job_id} is {run['state']} and recorded no table versions; only a finished run can be read"
        )
    stages = store.read(schemas.STAGE_RUNS)
    mine = stages.filter(pc.equal(stages["job_id"], run["job_id"])).to_pylist()
    if not mine:
        # Every run has stages, and without their keys no row would be its own.
        raise BrokenTableError(
            f"run {run['job_id']} cannot be read: table stage_runs does not have its stages; bring that table back "
            "from a backup"
        )
    keys = {r["stage"]: dict.fromkeys(run["streams"], r["stage_key"]) for r in mine}
    rules = {r["stage"]: dict.fromkeys(run["streams"], r["rule"]) for r in mine if r["rule"]}
    versions = json.loads(run["versions"])
    return Selection(versions, keys, rules, _given_up(store, versions, run["ended_ns"]))


def _given_up(store: Store, versions: Mapping[str, int], recorded_ns: int) -> frozenset[str]:
    """Return the tables whose loss was accepted after versions of them were recorded (ns since 1970)."""
    return frozenset(name for name in versions if store.written.is_accepted(name, recorded_ns))


def find_run(store: Store, job_id: str) -> dict[str, Any]:
    """Return a row of `runs`, by its id, a beginning of it that only one has, or `last`. Raises `UnknownJobError`."""
    runs = store.read(schemas.RUNS)
    job_id = counted_back(job_id, runs["job_id"].to_pylist())
    found = runs.filter(pc.starts_with(runs["job_id"], job_id)).to_pylist()
    exact = [r for r in found if r["job_id"] == job_id]
    if exact:
        return dict(exact[0])
    if len(found) == 1:
        return dict(found[0])
    if found:
        raise UnknownJobError(f"{len(found)} runs begin with {job_id!r}: {', '.join(r['job_id'] for r in found)}")
    if job_id and (queued := [name for name in jobs_of(store.root) if name.startswith(job_id)]):
        raise UnknownJobError(
            f"job {queued[0]} has not begun, so that there is no run of it; see winnow gateway status"
        )
    last = pc.max(runs["job_id"]).as_py()
    raise UnknownJobError(f"there is no run {job_id!r}; the last one is {last or 'none'} (see winnow inspect runs)")


def of_release(store: Store, name: str) -> Selection:
    """Return what a release froze. Raises `UserError` for an unknown one."""
    row = find_release(store, name)
    manifest = json.loads(row["manifest"])
    return Selection.from_manifest(manifest, _given_up(store, manifest["tables"], row["created_ns"]))


def find_release(store: Store, name: str) -> dict[str, Any]:
    """Return a row of `releases`. Raises `UserError` for an unknown name."""
    rows = store.read(schemas.RELEASES).to_pylist()
    for row in rows:
        if row["name"] == name:
            return dict(row)
    known = ", ".join(sorted(r["name"] for r in rows)) or "none yet"
    raise UserError(f"there is no release {name!r}; there are: {known}")


def choose(store: Store, run: str | None, release: str | None) -> Selection:
    """Return the selection that a command's `--run` or `--release` names, or the current one."""
    if run and release:
        raise UserError("--run and --release: expected one of them")
    if run:
        return of_run(store, run)
    return of_release(store, release) if release else current(store)
