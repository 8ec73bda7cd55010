"""The dictionary of brands: what it may say, and which of its names are easily taken for one another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations
from typing import Any

from transforms.core.plain_yaml import read_yaml

_KEYS = ("aliases", "never", "logos", "colours")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_MOST_NAME = 100


class DictionaryError(ValueError):
    """A dictionary cannot be used; `problems` has a line for each reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Brand:
    """A brand: its name, what else it is written as, words that it is not, files of its logos, and its colours."""

    name: str
    aliases: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    logos: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Return all that it is written as, folded."""
        return tuple(dict.fromkeys(folded(word) for word in (self.name, *self.aliases)))


def folded(text: str) -> str:
    """Return a text by which words are compared: letters and digits alone, without accents and case.

    >>> folded("Café-Crème 24")
    'cafecreme24'
    """
    return "".join(letter for letter, _ in folded_letters(text))


def folded_letters(text: str) -> list[tuple[str, int]]:
    """Return the letters of `folded`, each with its place in the text."""
    found = []
    for place, letter in enumerate(text):
        parts = unicodedata.normalize("NFKD", letter).casefold()
        found += [(part, place) for part in parts if part.isalnum()]
    return found


def read_dictionary(text: str) -> tuple[Brand, ...]:
    r"""Return the brands of a YAML document; raise `DictionaryError` with all that is wrong with it.

    >>> read_dictionary("brands:\n- name: Nordvig\\n  never: [Nordvik]")
    (Brand(name='Nordvig', aliases=(), never=('Nordvik',), logos=(), colours=()),)
    """
    document = read_yaml(text)
    if not isinstance(document, Mapping) or set(document) != {"brands"} or not isinstance(document["brands"], list):
        raise DictionaryError(["expected a list under the key brands, and no other key"])
    problems: list[str] = []
    brands = [brand for at, entry in enumerate(document["brands"], 1) if (brand := _brand(entry, at, problems))]
    if not document["brands"]:
        problems.append("brands: expected at least one brand, found none")
    problems += _twice(brands)
    if problems:
        raise DictionaryError(problems)
    return tuple(brands)


def _brand(entry: Any, at: int, problems: list[str]) -> Brand | None:
    where = f"brand {at}"
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, Mapping):
        problems.append(f"{where}: expected a name, or name, {', '.join(_KEYS)}; found {type(entry).__name__}")
        return None
    name = entry.get("name")
    if not isinstance(name, str) or not folded(name) or len(name) > _MOST_NAME:
        problems.append(f"{where}: name: expected letters or digits, at most {_MOST_NAME}; found {str(name)[:40]!r}")
        return None
    for key in entry:
        if key not in {"name", *_KEYS}:
            close = get_close_matches(str(key), ("name", *_KEYS), 1)
            hint = f"; did you mean {close[0]}?" if close else f"; expected name, {', '.join(_KEYS)}"
            problems.append(f"{where} ({name}): unknown key {str(key)[:40]!r}{hint}")
    values = {key: _texts(entry.get(key), f"{where} ({name}): {key}", problems) for key in _KEYS}
    for key in ("aliases", "never"):
        problems += [
            f"{where} ({name}): {key}: {word!r} has no letter or digit" for word in values[key] if not folded(word)
        ]
    problems += [
        f"{where} ({name}): colours: expected #rrggbb, found {colour!r}"
        for colour in values["colours"]
        if not _COLOUR.fullmatch(colour)
    ]
    return Brand(name, **values)


def _texts(value: Any, where: str, problems: list[str]) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        problems.append(f"{where}: expected texts; found {str(value)[:40]!r} (quote numbers)")
        return ()
    return tuple(value)


def _twice(brands: Sequence[Brand]) -> list[str]:
    """Return what two brands both claim, and words that a brand is and is not."""
    owner: dict[str, str] = {}
    problems = []
    for brand in brands:
        for word in brand.words:
            if word in owner:
                problems.append(f"{brand.name}: {word!r} is also a name of {owner[word]}; expected each name once")
            owner.setdefault(word, brand.name)
        problems += [
            f"{brand.name}: never: {word!r} is a name of the brand itself"
            for word in brand.never
            if folded(word) in brand.words
        ]
    return problems


def near_homonyms(brands: Iterable[Brand]) -> list[tuple[str, str, str, str]]:
    """Return words of two brands that differ in one letter only: brand, word, other brand, its word."""
    words = [(brand.name, word) for brand in brands for word in brand.words if len(word) > 2]
    return [
        (one, word, other, another)
        for (one, word), (other, another) in combinations(words, 2)
        if one != other and distance(word, another) <= 1
    ]


def distance(one: str, other: str) -> int:
    """Return the edit distance of two words: letters that are replaced, lacking or added.

    >>> distance("nordvig", "nordvik")
    1
    """
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, row[0] = row[0], at
        for place, another in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != another))
    return row[-1]
