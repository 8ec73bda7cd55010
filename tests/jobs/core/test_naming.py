from __future__ import annotations

import pytest

from jobs.core.naming import counted_back, many, wrong_with, wrong_with_category


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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "an empty one"),
        (" \t", "an empty one"),
        ("red\ncar", "on one line"),
        ("red\x7f", "on one line"),
        ("red\u2028", "on one line"),
        ("x" * 501, "at most 500"),
    ],
)
def test_categories_have_names_that_labels_show(name: str, why: str) -> None:
    assert why in (wrong_with_category(name) or "")
    assert wrong_with_category("traffic light (red), Größe 2") is None


@pytest.mark.parametrize(
    ("n", "what", "does", "text"),
    [
        (1, "frame", "", "1 frame"),
        (0, "frame", "", "0 frames"),
        (12_345, "frame", "", "12,345 frames"),
        (1, "category", "", "1 category"),
        (2, "category", "", "2 categories"),
        (3, "box", "", "3 boxes"),
        (3, "class", "", "3 classes"),
        (3, "key", "", "3 keys"),
        (1, "object", "are", "1 object is"),
        (2, "object", "are", "2 objects are"),
        (1, "frame", "have", "1 frame has"),
        (0, "image", "differ", "0 images differ"),
    ],
)
def test_counts_have_their_noun_and_verb_in_the_right_number(n: int, what: str, does: str, text: str) -> None:
    assert many(n, what, does) == text
