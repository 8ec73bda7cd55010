"""What texts mean by a dictionary."""

from __future__ import annotations

import pytest

from transforms.brands.dictionary import Brand
from transforms.brands.match_words import MatchParams, Mention, mentions_of

BRANDS = [
    Brand("Nordvig"),
    Brand("Kestrel Bank"),
    Brand("Orange", never=("Orangerie",)),
    Brand("ACE"),
    Brand("Olympax", aliases=("OLX",)),
]


def named(text: str, score: float = 0.99, params: MatchParams | None = None) -> list[tuple[str | None, str, str]]:
    """Return brand, how and state of each mention."""
    return [(m.brand, m.how, m.state) for m in mentions_of(text, score, BRANDS, params or MatchParams())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NORDVIG", [("Nordvig", "name", "resolved")]),
        ("Nördvig!", [("Nordvig", "name", "resolved")]),
        ("KESTREL BANK", [("Kestrel Bank", "name", "resolved")]),
        ("KESTRELBANK", [("Kestrel Bank", "name", "resolved")]),
        ("NORDVIG KESTREL BANK", [("Nordvig", "name", "resolved"), ("Kestrel Bank", "name", "resolved")]),
        ("RDVIG", [("Nordvig", "part", "resolved")]),
        ("OLX", [("Olympax", "name", "resolved")]),
        # A short name is a word of its own, never a part of one.
        ("ACE", [("ACE", "name", "resolved")]),
        ("PLACES", [(None, "none", "none")]),
        ("Orange", [("Orange", "name", "resolved")]),
        ("ORANGERIE", [(None, "never", "none")]),
        # Letters that readers confuse.
        ("N0RDVIG", [("Nordvig", "fuzzy", "resolved")]),
        # Another name, read clearly.
        ("NORDVIK", [(None, "none", "none")]),
        ("NORVIG", [(None, "none", "none")]),
        ("WELCOME", [(None, "none", "none")]),
        ("", [(None, "none", "none")]),
    ],
)
def test_texts_that_are_read_clearly(text: str, expected: list[tuple[str | None, str, str]]) -> None:
    assert named(text) == expected


def test_a_name_nearly_read_is_not_resolved() -> None:
    assert named("NORDVIK", 0.6) == [("Nordvig", "fuzzy", "unresolved")]
    assert mentions_of("NORDVIK", 0.99, BRANDS, MatchParams())[0].runner_up == "Nordvig"


def test_both_of_two_near_homonyms_are_found_by_their_own_names() -> None:
    brands = [Brand("Nordvig"), Brand("Nordvik")]
    assert [m.brand for m in mentions_of("NORDVIK NORDVIG", 0.99, brands, MatchParams())] == ["Nordvik", "Nordvig"]
    unclear = mentions_of("NORDVIX", 0.6, brands, MatchParams())[0]
    assert unclear.state == "unresolved"
    assert unclear.margin == pytest.approx(0)


def test_where_in_the_text_a_name_is() -> None:
    first, second = mentions_of("WELCOME NORDVIG 24 ORANGE", 0.9, BRANDS, MatchParams())
    assert isinstance(first, Mention)
    assert (first.brand, second.brand) == ("Nordvig", "Orange")
    assert (first.begins, first.ends) == pytest.approx((7 / 22, 14 / 22))
    assert second.ends == 1
