"""Dictionaries of brands, right and wrong."""

from __future__ import annotations

import pytest

from transforms.brands.dictionary import Brand, DictionaryError, distance, near_homonyms, read_dictionary

GOOD = """
brands:
- name: Nordvig
  aliases: [NV Group]
  never: [Nordvik]
  colours: ["#1a2b3c"]
- Kestrel Bank
"""


def test_a_dictionary_is_read() -> None:
    assert read_dictionary(GOOD) == (
        Brand("Nordvig", ("NV Group",), ("Nordvik",), (), ("#1a2b3c",)),
        Brand("Kestrel Bank"),
    )
    assert read_dictionary(GOOD)[0].words == ("nordvig", "nvgroup")


def test_every_problem_is_named_at_once() -> None:
    text = """
brands:
- name: Nordvig
  alias: [N]
- name: "!!"
- name: Ferrano
  aliases: [nordvig, 24]
  colours: [red]
"""
    with pytest.raises(DictionaryError) as caught:
        read_dictionary(text)
    problems = "\n".join(caught.value.problems)
    assert "brand 1 (Nordvig): unknown key 'alias'; did you mean aliases?" in problems
    assert "brand 2: name: expected letters or digits" in problems
    assert "aliases: expected texts" in problems
    assert "expected #rrggbb, found 'red'" in problems


@pytest.mark.parametrize("text", ["", "- a", "brands: 3", "brands: []", "names: []", "brands: [a]\nmore: 1"])
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(DictionaryError, match="expected"):
        read_dictionary(text)


def test_a_name_is_of_one_brand_only() -> None:
    with pytest.raises(DictionaryError, match="also a name of Nordvig"):
        read_dictionary("brands: [Nordvig, NORDVIG]")
    with pytest.raises(DictionaryError, match="is a name of the brand itself"):
        read_dictionary("brands: [{name: Nordvig, never: [nordvig]}]")


def test_near_homonyms_are_found() -> None:
    brands = [Brand("Nordvig"), Brand("Nordvik"), Brand("Ferrano")]
    assert near_homonyms(brands) == [("Nordvig", "nordvig", "Nordvik", "nordvik")]


@pytest.mark.parametrize(
    ("one", "other", "expected"), [("abc", "abc", 0), ("abc", "abd", 1), ("", "ab", 2), ("kitten", "sitting", 3)]
)
def test_distances_of_words(one: str, other: str, expected: int) -> None:
    assert distance(one, other) == expected
