"""Changes of a project's settings and categories: rows that are added and never changed, so that each can be undone."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with_category
from jobs.editing.errors import UnknownFrameError
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Snapshot, Store
from jobs.views.categories import register
from jobs.views.project_settings import DEFAULTS, ProjectSettings, settings_of

CategoryKind = Literal["add", "colour", "key", "rename", "merge"]

_JOB = "review"
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_KEY = re.compile(r"[0-9a-z]")
_MOST_LETTERS = 100_000
_MOST_MINUTES = 24 * 60
_ORDERS = ("uncertainty", "stream", "random")


def change_settings(store: Store, settings: Mapping[str, Any], author: str) -> None:
    """Set some settings of a project. Raises `UserError` with everything that is wrong with them."""
    if problems := [line for name, value in settings.items() if (line := _wrong_with(name, value))]:
        raise UserError(problems)
    rows = [("setting", name, None if value == DEFAULTS[name] else value) for name, value in settings.items()]
    _add(store, rows, author)


def _wrong_with(name: str, value: Any) -> str | None:
    if name == "lease_minutes" and not 0 < value <= _MOST_MINUTES:
        return f"lease_minutes: expected above 0 and at most {_MOST_MINUTES}, found {value:g}"
    if name == "order" and value not in _ORDERS:
        return f"order: expected one of {', '.join(_ORDERS)}, found {value!r}"
    if name == "guidelines" and len(value) > _MOST_LETTERS:
        return f"guidelines: expected at most {_MOST_LETTERS:,} characters, found {len(value):,}"
    return None


def change_category(
    store: Store, kind: CategoryKind, category: str, value: str | None, known: Collection[str], author: str
) -> None:
    """Add a category, rename it, merge it into another one, or set its colour or key.

    `known`: the names of categories now. Numbers of categories never change: one that was renamed or merged keeps its
    own, which nothing else gets. Raises `UserError` for what cannot be.
    """
    problem = _problem(kind, category, value, known)
    if problem is not None:
        raise UserError(problem)
    if kind == "add":
        store.create_tables([schemas.CATEGORIES])
        register(store, [category], f"project {author}", _JOB)
        return
    if kind in {"rename", "merge"}:
        assert value is not None
        store.create_tables([schemas.CATEGORIES])
        register(store, [value], f"{kind} of {category}", _JOB)
    _add(store, [(kind, category, value)], author)


def _problem(kind: CategoryKind, category: str, value: str | None, known: Collection[str]) -> str | None:
    if kind == "add":
        return f"category {category!r} is there already" if category in known else wrong_with_category(category)
    if category not in known:
        return f"category {category!r} is not known; there are {', '.join(sorted(known)[:5]) or 'none'}"
    if kind in {"rename", "merge"}:
        return "into: required" if value is None else _problem_of_move(kind, category, value, known)
    expected = (_COLOUR, "# and six of 0-9 and a-f") if kind == "colour" else (_KEY, "one digit or small letter")
    if value is not None and not expected[0].fullmatch(value):
        return f"{kind}: expected {expected[1]}, found {value[:20]!r}"
    return None


def _problem_of_move(kind: CategoryKind, category: str, into: str, known: Collection[str]) -> str | None:
    if kind == "merge":
        if into == category:
            return f"category {category!r} cannot be merged into itself"
        return None if into in known else f"category {into!r} is not known; a category is renamed to a new name"
    if into in known:
        return f"category {into!r} is there already; merge {category!r} into it instead"
    return wrong_with_category(into)


def undo(store: Store, change_id: str, author: str) -> None:
    """Take a change of a category back. Raises `UnknownFrameError` for one that is not there, or is undone."""
    found = {row["change_id"]: row for row in read(store).changes}
    if change_id not in found or found[change_id]["undone"]:
        raise UnknownFrameError(f"there is no change {change_id[:100]!r} that could be undone")
    _add(store, [("undo", change_id, None)], author)


def read(store: Store) -> ProjectSettings:
    """Return the settings of a workspace as they are now."""
    return settings_of(store.open(schemas.PROJECT_SETTINGS).read().to_pylist())


def _add(store: Store, changes: list[tuple[str, str, Any]], author: str) -> None:
    if not changes:
        return
    store.create_tables([schemas.PROJECT_SETTINGS])
    now = time.time_ns()

    def change(snapshot: Snapshot) -> Change:
        first = snapshot.n_rows + 1
        rows = [
            {
                "change_id": secrets.token_hex(8),
                "number": first + at,
                "kind": kind,
                "subject": subject,
                "value": None if value is None else json.dumps(value, ensure_ascii=False),
                "author": author,
                "at_ns": now,
            }
            for at, (kind, subject, value) in enumerate(changes)
        ]
        table = pa.Table.from_pylist(rows, schemas.PROJECT_SETTINGS.arrow_schema)
        return Change([write_part(store.root, schemas.PROJECT_SETTINGS, table)])

    store.transact(schemas.PROJECT_SETTINGS, change, _JOB)
