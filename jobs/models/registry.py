"""The registry of trained models: versions by name, and aliases, of which each change is a row that stays."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

import schemas
from jobs.core.errors import JobStateError, UserError, one_line
from jobs.core.naming import wrong_with
from jobs.models.weight_folders import digest
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Snapshot, Store

PREFIX = "models:"
"""What a reference to a registered model begins with: `models:NAME@ALIAS`, or `models:NAME@VERSION`."""

_REFERENCE = re.compile(r"(?:models:)?(?P<name>[^@:]+)@(?P<which>[^@:]+)")
_MOST_DIGITS = 18


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model: its row in `model_versions`, and the folder of its weights."""

    name: str
    version: int
    model_id: str
    detector: str
    folder: Path
    row: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """Return how it is referred to for good, as in `yard@3`."""
        return f"{self.name}@{self.version}"


def register(store: Store, row: Mapping[str, Any]) -> int:
    """Add a version of a model, and return its number. A training is registered once, however often this is called.

    `row` has the columns of `model_versions` but for `version` and `created_ns`.
    """
    number = 0

    def change(snapshot: Snapshot) -> Change | None:
        nonlocal number
        there = snapshot.read(["name", "version", "job_id"]).to_pylist()
        mine = [each["version"] for each in there if each["name"] == row["name"] and each["job_id"] == row["job_id"]]
        if mine:
            number = mine[0]
            return None
        number = max((each["version"] for each in there if each["name"] == row["name"]), default=0) + 1
        made = {**row, "version": number, "created_ns": time.time_ns()}
        return Change([write_part(store.root, schemas.MODEL_VERSIONS, _table(schemas.MODEL_VERSIONS, made))])

    store.create_tables([schemas.MODEL_VERSIONS])
    store.transact(schemas.MODEL_VERSIONS, change, str(row["job_id"]))
    return number


def versions(store: Store, name: str | None = None) -> list[dict[str, Any]]:
    """Return the versions of a model, or of all, by name and number. Raises `UserError` for a name that has none."""
    rows = sorted(store.read(schemas.MODEL_VERSIONS).to_pylist(), key=lambda row: (row["name"], row["version"]))
    if name is None:
        return rows
    mine = [row for row in rows if row["name"] == name]
    if not mine:
        known = sorted({row["name"] for row in rows})
        raise UserError(f"there is no model {name!r}; trained ones: {', '.join(known) or 'none yet'}")
    return mine


def find(store: Store, reference: str) -> ModelVersion:
    """Return the version that `NAME@VERSION` or `NAME@ALIAS` refers to now, with or without `models:` before it.

    Raises `UserError` for one that is not there.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise UserError(f"{reference}: expected models:NAME@VERSION or models:NAME@ALIAS, as in models:yard@champion")
    name, which = found["name"], found["which"]
    mine = {row["version"]: row for row in versions(store, name)}
    if which.isdecimal():
        # Of more digits than any number of a row, which Python may refuse to read.
        number = int(which) if len(which) <= _MOST_DIGITS else 0
    else:
        number = _current(store.read(schemas.ALIASES).to_pylist(), name, which)
        if not number:
            raise UserError(
                f"{reference}: no version of {name} is {which} yet; `winnow models promote {name}@{max(mine)} --alias "
                f"{which}` makes it so"
            )
    row = mine.get(number)
    if row is None:
        raise UserError(f"{reference}: {name} has the versions {', '.join(map(str, mine))}")
    return version_of(store, row)


def version_of(store: Store, row: Mapping[str, Any]) -> ModelVersion:
    """Return the version that a row of `model_versions` is about, of a workspace on disk."""
    place = store.root.on_disk()
    assert place is not None, store.root
    folder = place / row["folder"]
    return ModelVersion(row["name"], row["version"], row["model_id"], row["detector"], folder, row)


def weights_problem(version: ModelVersion, verify: bool = True) -> str | None:
    """Return why the weights of a version cannot be used; None where they are there and, with `verify`, the same."""
    if not version.folder.exists():
        return f"{version.reference}: its weights are missing from {version.folder}"
    if not verify:
        return None
    try:
        found = digest(version.folder)
    except UserError as error:
        return f"{version.reference}: {one_line(error)}"
    if found != version.model_id:
        return f"{version.reference}: its weights in {version.folder} are not those that were registered"
    return None


def onnx_file(store: Store, version: ModelVersion) -> Path:
    """Return the ONNX file of a version. Raises `UserError` with why there is none."""
    rows = [row for row in store.read(schemas.MODEL_EXPORTS).to_pylist() if row["model_id"] == version.model_id]
    made = next((row for row in rows if row["format"] == "onnx"), None)
    if made is None or made["file"] is None:
        why = made["reason"] if made else "it was trained without"
        raise UserError(f"{version.reference} has no ONNX file: {why}; leave annotate.detector to the model")
    if problem := export_problem(store, version, made):
        raise UserError(f"{problem}; bring it back from a backup, or leave annotate.detector to the model")
    return _file_of(store, made)


def export_problem(store: Store, version: ModelVersion, made: Mapping[str, Any], verify: bool = True) -> str | None:
    """Return why a file that was made of a version, a row of `model_exports`, cannot be used; None where it can.

    Without `verify` its content is not compared. Rows that say why there is no file have no problem.
    """
    if made["file"] is None:
        return None
    file = _file_of(store, made)
    if not file.is_file():
        return f"{version.reference}: its {str(made['format']).upper()} file is missing from {file}"
    if verify and digest(file) != made["sha256"]:
        return f"{version.reference}: {file} is not the {str(made['format']).upper()} file that was made of it"
    return None


def _file_of(store: Store, made: Mapping[str, Any]) -> Path:
    place = store.root.on_disk()
    assert place is not None, store.root
    return place / str(made["file"])


def set_alias(
    store: Store,
    name: str,
    version: int,
    alias: str,
    *,
    by: str,
    reason: str | None = None,
    expect: int | None = None,
    is_forced: bool = False,
    evaluation_id: str | None = None,
) -> dict[str, Any]:
    """Have an alias refer to a version from now on, 0 for none any more, and return the row of that change.

    `expect`: the version that it refers to now, 0 for none; None for any. Raises `UserError` for a version
    that is not there, and `JobStateError` where the alias refers to another one than expected: somebody was first.
    """
    if wrong := wrong_with("alias", alias):
        raise UserError(wrong)
    if alias.isdecimal():
        raise UserError(f"alias {alias}: expected a word, since numbers are versions")
    if version:
        find(store, f"{name}@{version}")
    made: dict[str, Any] = {}

    def change(snapshot: Snapshot) -> Change:
        rows = snapshot.read().to_pylist()
        now = _current(rows, name, alias)
        if expect is not None and expect != now:
            raise JobStateError(
                f"{name}@{alias} is version {now or 'none'} by now, expected {expect or 'none'}; look again, and "
                "repeat with what it is"
            )
        if now == version:
            raise JobStateError(f"{name}@{alias} is version {version} already")
        number = 1 + max((r["number"] for r in rows if (r["name"], r["alias"]) == (name, alias)), default=0)
        made.update(
            name=name,
            alias=alias,
            number=number,
            version=version,
            previous=now or None,
            by=by,
            reason=reason,
            is_forced=is_forced,
            at_ns=time.time_ns(),
            evaluation_id=evaluation_id,
        )
        return Change([write_part(store.root, schemas.ALIASES, _table(schemas.ALIASES, made))])

    store.create_tables([schemas.ALIASES])
    store.transact(schemas.ALIASES, change, f"{name}@{alias}")
    return made


def current(store: Store, name: str, alias: str) -> int:
    """Return the version that an alias of a model refers to now; 0 for none."""
    return _current(store.read(schemas.ALIASES).to_pylist(), name, alias)


def roll_back(store: Store, name: str, alias: str, *, by: str, reason: str | None = None) -> dict[str, Any]:
    """Have an alias refer to the version before the one that it refers to now; that is a change, too.

    A second rollback goes one further back, and not forward to what the first one took away. Raises `UserError` where
    there was none before.
    """
    standing: list[int] = []
    for change in history(store, name, alias):
        if not change["version"]:
            standing.clear()
        elif change["version"] in standing:
            del standing[standing.index(change["version"]) + 1 :]
        else:
            standing.append(change["version"])
    if len(standing) < 2:
        raise UserError(f"{name}@{alias}: there is no version before that it could go back to")
    before, now = standing[-2:]
    return set_alias(store, name, before, alias, by=by, reason=reason or "rollback", expect=now, is_forced=False)


def history(store: Store, name: str, alias: str | None = None) -> list[dict[str, Any]]:
    """Return the changes of the aliases of a model, or of one of them, the oldest first.

    Those of one alias are in the order of their numbers, also where the clock was set back.
    """
    rows = [row for row in store.read(schemas.ALIASES).to_pylist() if row["name"] == name]
    mine = sorted((row for row in rows if alias is None or row["alias"] == alias), key=lambda row: row["number"])
    since: dict[str, int] = {}
    placed = []
    for row in mine:
        since[row["alias"]] = max(row["at_ns"], since.get(row["alias"], 0))
        placed.append((since[row["alias"]], row["number"], row))
    return [row for *_, row in sorted(placed, key=lambda each: each[:2])]


def _current(rows: list[dict[str, Any]], name: str, alias: str) -> int:
    """Return the version that an alias refers to by its row of the highest number; 0 for none."""
    mine = [row for row in rows if (row["name"], row["alias"]) == (name, alias)]
    return int(max(mine, key=lambda row: row["number"])["version"]) if mine else 0


def _table(table: schemas.Table, row: Mapping[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict(row)], table.arrow_schema)
