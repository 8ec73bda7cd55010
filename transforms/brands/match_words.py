"""Which brands a text names, by the dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Le

from transforms.brands.dictionary import Brand, distance, folded, folded_letters

How = Literal["name", "part", "fuzzy", "logo", "never", "none"]
State = Literal["resolved", "unresolved", "none"]

_LOOKALIKES = (
    frozenset("o0dq"),
    frozenset("il1jt"),
    frozenset("s5"),
    frozenset("b8"),
    frozenset("z2"),
    frozenset("uv"),
)
"""Letters that readers of text confuse, also where they are sure."""


@dataclass(frozen=True)
class MatchParams:
    """When a text names a brand.

    `short`: names of at most so many letters are matched as whole words only.
    `letters`: least share of the letters of a name that have to be read where some are cut off.
    `clear`: score of a reading from which on each of its letters counts: a name with another letter is another name.
    `fuzzy`: highest share of letters that may be wrong in a reading that is less clear.
    `logo_points`: places of a logo that have to be found again in a crop, in their places.
    `logo_alike`: least correlation of a logo with where it was found.
    `logo_margin`: by how much it has to be higher than that of the next brand's logo.
    `logo_inside`: least share of a logo that is within the crop.
    """

    short: Annotated[int, Ge(1), Le(20)] = 4
    letters: Annotated[float, Ge(0), Le(1)] = 0.5
    clear: Annotated[float, Ge(0), Le(1)] = 0.85
    fuzzy: Annotated[float, Ge(0), Le(1)] = 0.3
    logo_points: Annotated[int, Ge(4), Le(400)] = 8
    logo_alike: Annotated[float, Ge(-1), Le(1)] = 0.6
    logo_margin: Annotated[float, Ge(0), Le(2)] = 0.1
    logo_inside: Annotated[float, Ge(0), Le(1)] = 0.6


class Mention(NamedTuple):
    """A brand that a text or a logo names, or nearly does.

    `letters`: share of its letters that were read, or of its logo that is there; `begins`, `ends`: where in the text or
    crop, 0..1; `tall`: height of the logo as a multiple of the region's, 1 of a text; `area`: likewise that of a logo,
    None of a text, which has the part of the region between its ends. `logo`: name of the logo.
    """

    brand: str | None
    how: How
    state: State
    score: float
    letters: float = 0.0
    runner_up: str | None = None
    margin: float = 0.0
    begins: float = 0.0
    ends: float = 1.0
    tall: float = 1.0
    area: float | None = None
    logo: str = ""

    @property
    def part(self) -> float:
        """Return its area as a multiple of the region's."""
        return max(0.0, self.ends - self.begins) if self.area is None else self.area


class _Found(NamedTuple):
    brand: str
    how: How
    score: float
    letters: float
    first: int
    last: int


def mentions_of(text: str, score: float, brands: Sequence[Brand], params: MatchParams) -> list[Mention]:
    """Return the brands that a text, read with a score of 0..1, names; one mention without a brand where it names none.

    >>> mentions_of("Nordvik", 0.99, [Brand("Nordvig")], MatchParams())[0].brand is None
    True
    """
    letters = folded_letters(text)
    if not letters:
        return [Mention(None, "none", "none", 0.0)]
    plain = "".join(letter for letter, _ in letters)
    ends = _word_ends(text, letters)
    taken = _never(plain, brands)
    found: list[_Found] = []
    exact = [each for brand in brands for word in brand.words for each in _whole(plain, ends, word, brand.name, params)]
    # A name that was found ends the word next to it, where signs follow without a space.
    ends |= {place for each in exact for place in (each.first, each.last)}
    parts = [each for brand in brands for word in brand.words for each in _parts(plain, ends, word, brand.name, params)]
    for each in [*sorted(exact, key=_length), *sorted(parts, key=_length)]:
        if not any(each.first < last and first < each.last for first, last in taken):
            found.append(each)
            taken.append((each.first, each.last))
    mentions = [_mention(each, score, len(plain)) for each in sorted(found, key=lambda f: f.first)]
    if not mentions and _never(plain, brands):
        return [Mention(None, "never", "none", score)]
    return mentions or [_nearly(plain, ends, score, brands, params)]


def _length(found: _Found) -> int:
    return found.first - found.last


def _word_ends(text: str, letters: Sequence[tuple[str, int]]) -> frozenset[int]:
    """Return the places in the folded text at which words begin or end."""
    cuts = {0, len(letters)}
    for at in range(1, len(letters)):
        between = text[letters[at - 1][1] + 1 : letters[at][1]]
        if between:
            cuts.add(at)
    return frozenset(cuts)


def _never(plain: str, brands: Sequence[Brand]) -> list[tuple[int, int]]:
    words = {folded(word) for brand in brands for word in brand.never}
    return [(at, at + len(word)) for word in words for at in _places(plain, word)]


def _places(plain: str, word: str) -> list[int]:
    found, at = [], plain.find(word)
    while at >= 0:
        found.append(at)
        at = plain.find(word, at + 1)
    return found


def _whole(plain: str, ends: frozenset[int], word: str, brand: str, params: MatchParams) -> list[_Found]:
    found = []
    for at in _places(plain, word):
        last = at + len(word)
        borders = (at in ends) + (last in ends)
        # A line may run into that of the next board, but the longer a name is, the less it is part of another word.
        needed = 2 if len(word) <= params.short else (1 if len(word) <= params.short + 2 else 0)
        if borders >= needed:
            found.append(_Found(brand, "name", 1.0, 1.0, at, last))
    return found


def _parts(plain: str, ends: frozenset[int], word: str, brand: str, params: MatchParams) -> list[_Found]:
    """Return where the beginning or the end of a name is a whole word, the rest being covered or outside."""
    if len(word) <= params.short:
        return []
    for n in range(len(word) - 1, params.short - 1, -1):
        if n < params.letters * len(word):
            break
        share = n / len(word)
        for part in (word[:n], word[-n:]):
            for at in _places(plain, part):
                last = at + n
                # What lacks must not be replaced by other letters of a word.
                if at in ends and last in ends:
                    return [_Found(brand, "part", 0.5 + share / 2, share, at, last)]
    return []


def _mention(found: _Found, score: float, n: int) -> Mention:
    sure = score * found.score
    return Mention(
        found.brand,
        found.how,
        "resolved",
        float(sure),
        found.letters,
        None,
        float(sure),
        found.first / n,
        found.last / n,
    )


def _nearly(plain: str, ends: frozenset[int], score: float, brands: Sequence[Brand], params: MatchParams) -> Mention:
    """Return the mention of the brand that a text is nearest to, resolved only where no other name was read clearly."""
    near: list[tuple[float, str, str, int, int]] = []
    cuts = sorted(ends)
    for brand in brands:
        for word in brand.words:
            if len(word) <= params.short:
                continue
            spans = [
                (first, last)
                for first in cuts
                for last in cuts
                if first < last and abs(last - first - len(word)) <= max(1, params.fuzzy * len(word))
            ]
            for first, last in spans:
                wrong = distance(plain[first:last], word)
                near.append((wrong / len(word), brand.name, word, first, last))
    near.sort()
    if not near or near[0][0] > params.fuzzy:
        return Mention(None, "none", "none", score)
    share, brand_name, word, first, last = near[0]
    others = [each for each in near if each[1] != brand_name]
    second = others[0] if others else None
    sure = score * (1 - share)
    margin = sure - (score * max(0.0, 1 - second[0]) if second else 0.0)
    place = (first / len(plain), last / len(plain))
    runner_up = second[1] if second else None
    if _is_confused(plain[first:last], word):
        state: State = "resolved" if second is None or second[0] > share else "unresolved"
        return Mention(brand_name, "fuzzy", state, sure, 1 - share, runner_up, max(-1.0, min(1.0, margin)), *place)
    if score >= params.clear:
        return Mention(None, "none", "none", score, 0.0, brand_name, max(-1.0, min(1.0, -margin)), *place)
    return Mention(brand_name, "fuzzy", "unresolved", sure, 1 - share, runner_up, max(-1.0, min(1.0, margin)), *place)


def _is_confused(read: str, word: str) -> bool:
    """Return whether a text is a word but for letters that readers confuse."""
    if len(read) != len(word):
        return False
    return all(
        a == b or any(a in group and b in group for group in _LOOKALIKES) for a, b in zip(read, word, strict=True)
    )
