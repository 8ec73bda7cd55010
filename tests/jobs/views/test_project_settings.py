"""Settings and names of categories after changes, merges, renames and what was taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.views.project_settings import DEFAULTS, settings_of


def rows(*changes: tuple[str, str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "change_id": f"c{at}",
            "number": at,
            "kind": kind,
            "subject": subject,
            "value": None if value is None else json.dumps(value),
            "author": "ada",
            "at_ns": at,
        }
        for at, (kind, subject, value) in enumerate(changes, 1)
    ]


def test_the_last_value_of_a_setting_holds_and_null_is_its_default() -> None:
    found = settings_of(rows(("setting", "order", "random"), ("setting", "order", None), ("setting", "where", "keep")))
    assert found.settings == {**DEFAULTS, "where": "keep"}


@pytest.mark.parametrize(
    ("changes", "became"),
    [
        ([("rename", "a", "b")], {"a": "b"}),
        ([("rename", "a", "b"), ("rename", "b", "c")], {"a": "c", "b": "c"}),
        ([("merge", "a", "b"), ("merge", "c", "a")], {"a": "b", "c": "b"}),
        ([("rename", "a", "b"), ("rename", "b", "a")], {"b": "a"}),
        ([("rename", "a", "b"), ("rename", "b", "c"), ("undo", "c1", None)], {"b": "c"}),
        ([("merge", "a", "b"), ("undo", "c1", None)], {}),
    ],
)
def test_names_of_categories_after_moves(changes: list[tuple[str, str, Any]], became: dict[str, str]) -> None:
    found = settings_of(rows(*changes))
    assert found.became == became
    assert [found.name_of(name) for name in "abc"] == [became.get(name, name) for name in "abc"]


def test_colours_and_keys_are_the_last_ones_that_were_not_taken_back() -> None:
    changes = [("colour", "a", "#000000"), ("colour", "a", "#ffffff"), ("key", "a", "1"), ("undo", "c2", None)]
    found = settings_of(reversed(rows(*changes)))
    assert (found.colours, found.keys) == ({"a": "#000000"}, {"a": "1"})
    assert [change["undone"] for change in found.changes] == [False, True, False]
