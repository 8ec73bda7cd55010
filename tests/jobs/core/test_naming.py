from __future__ import annotations

import pytest

from jobs.core.naming import counted_back, wrong_with


@pytest.mark.parametrize(
    ("name", "found"),
    [("last", "c"), ("last~0", "c"), ("last~2", "a"), ("last~3", "last~3"), ("b", "b"), ("latest", "latest")],
)
def test_last_counts_back_from_the_newest(name: str, found: str) -> None:
    assert counted_back(name, {"b", "a", "c"}) == found
    assert counted_back("last", []) == "last"


@pytest.mark.parametrize(("name", "right"), [("v1.0-a_b", True), ("", False), ("../x", False), (".x", False)])
def test_only_plain_names_are_accepted(name: str, right: bool) -> None:
    assert (wrong_with("release", name) is None) == right
