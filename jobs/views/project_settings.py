"""Settings of a project and changes of its categories, as the last changes in `project_settings` have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

import schemas

Tables = Callable[[str], pl.LazyFrame]

DEFAULTS: Mapping[str, Any] = {
    "lease_minutes": 10.0,
    "require_second_reviewer": False,
    "order": "uncertainty",
    "where": None,
    "guidelines": "",
}
"""Settings of a project, with their values where nobody changed them."""

_MOVES = ("rename", "merge")


@dataclass(frozen=True)
class ProjectSettings:
    """The settings of a project, and of each category the colour, the key, and the one that it became.

    `changes` has all changes of categories, the oldest first, with `undone`.
    """

    settings: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    colours: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    became: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Mapping[str, Any], ...] = ()

    def name_of(self, category: str) -> str:
        """Return what a category is called now."""
        return self.became.get(category, category)


def settings_of(rows: Iterable[Mapping[str, Any]]) -> ProjectSettings:
    """Return the settings after all changes, given as rows of `project_settings` in any order."""
    ordered = sorted(rows, key=lambda row: row["number"])
    undone = {row["subject"] for row in ordered if row["kind"] == "undo"}
    settings, colours, keys = dict(DEFAULTS), dict[str, str](), dict[str, str]()
    moves: list[tuple[str, str]] = []
    changes = []
    for row in ordered:
        kind, subject = row["kind"], row["subject"]
        value = None if row["value"] is None else json.loads(row["value"])
        is_undone = row["change_id"] in undone
        if kind == "setting":
            if subject in DEFAULTS:
                settings[subject] = DEFAULTS[subject] if row["value"] is None else value
            continue
        if kind == "undo":
            continue
        changes.append({**row, "value": value, "undone": is_undone})
        if is_undone:
            continue
        if kind in _MOVES:
            moves.append((subject, str(value)))
        else:
            of_kind = colours if kind == "colour" else keys
            of_kind.pop(subject, None)
            if value is not None:
                of_kind[subject] = value
    return ProjectSettings(settings, colours, keys, _became(moves), tuple(changes))


def _became(moves: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what each moved category is called now; a later move takes along what became of earlier ones."""
    found: dict[str, str] = {}
    for old, new in moves:
        target = found.get(new, new) if found.get(new, new) != old else new
        found = {name: target if now == old else now for name, now in found.items()}
        found[old] = target
        found = {name: now for name, now in found.items() if name != now}
    return found


def read_settings(table: Tables) -> ProjectSettings:
    """Return the settings that a view shows."""
    return settings_of(table(schemas.PROJECT_SETTINGS.name).collect().to_dicts())


def renamed(objects: pl.LazyFrame, table: Tables) -> pl.LazyFrame:
    """Return objects under the names that their categories have now."""
    became = read_settings(table).became
    return objects.with_columns(pl.col("category").replace(became)) if became else objects
