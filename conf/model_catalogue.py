"""Catalogue of weights that can be pulled by name: where they come from, and under which licence."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import TypeAdapter

HUB = "hf:"


@dataclass(frozen=True)
class Model:
    """Weights that can be pulled by name.

    `file` is what they are called in the weights folder, `revision` the release at `source`; a `source` of
    `hf:ORGANISATION/NAME` is a repository of the Hugging Face hub, and `file` a folder. `sha256` and `size_bytes` are
    those of the file as it is published, of a folder those of its one weights file; None: the first pull records what
    came. `restriction`: what the licence asks beyond naming the authors, None for nothing. `extra`: which extra of this
    package runs them, as which `detector` (None: by no detector as they are). `types`: what a folder may say in its
    `config.json` that it holds; empty for a file.
    """

    name: str
    file: str
    source: str
    revision: str
    sha256: str | None
    size_bytes: int | None
    licence: str
    restriction: str | None
    extra: str
    detector: str | None
    types: tuple[str, ...] = ()

    @property
    def repository(self) -> str | None:
        """Return the repository of the Hugging Face hub that it is, None for a file."""
        return self.source.removeprefix(HUB) if self.source.startswith(HUB) else None


NOT_STATED = "no licence is stated: ask its makers before it is used or passed on"
_OWN_TERMS = "it has terms of its own, which are to be read before it is used or passed on"
# What a word of a licence, or its beginning, tells: the first one that is there decides.
_RESTRICTIONS = (
    (
        r"agpl\w*|affero",
        (
            "anyone who offers a service with it or passes it on owes its users the source of the whole program, or a "
            "licence bought from its makers"
        ),
    ),
    (r"(by)?nc|non[ -]?commercial|commons clause", "it must not be used commercially"),
    (r"research", "it is for research alone"),
    (r"terms", "its provider says what answers may serve for, and rules out models that compete with its own"),
    (
        r"l?gpl\w*|general public|gnu|mpl|mozilla|eupl|cecill|epl|osl|sa|share[ -]?alike|copyleft",
        "anyone who passes it on, or what is made of it, does so under the same licence, with the source",
    ),
)
_UNSAID = frozenset({"", "none", "null", "unknown", "unspecified", "not stated", "n/a"})
_PERMISSIVE = re.compile(
    r"(?:the )?(?:apache(?: (?:licen[sc]e|software licen[sc]e))?,?(?: version)?[ v]*(?:2(?:\.0)?)?|mit|mit 0|0?bsd"
    r"|bsd [23] clause|(?:new|simplified|modified) bsd|isc|zlib|cc0(?: 1\.0)?|cc by [1-4]\.\d|unlicense|wtfpl"
    r"|public domain|cdla permissive [12]\.0|ncsa|python 2\.0|postgresql|bsl 1\.0)"
    r"(?: licen[sc]e)?\s*(?:$|[:(;])"
)


def restriction_of(licence: str | None) -> str | None:
    """Return what a licence, or a provider's terms, ask beyond naming the authors; None for those known to ask nothing.

    What is not known to be permissive is taken for restricted: who reads a manifest should look rather than guess.
    """
    # `apache-2.0`, `Apache_2.0` and `Apache 2.0` are one.
    plain = re.sub(r"\(?https?:\S*", "", (licence or "").lower())
    text = re.sub(r"[\s_-]+", " ", plain).strip()
    if text in _UNSAID:
        return NOT_STATED
    for words, asked in _RESTRICTIONS:
        if re.search(rf"(?<![a-z])(?:{words})(?![a-z])", text):
            return asked
    parts = re.split(r" (?:or|and) |[/,&+](?! ?version)", text)
    return None if all(_PERMISSIVE.match(part.strip()) for part in parts) else _OWN_TERMS


@cache
def catalogue() -> dict[str, Model]:
    """Return all models by name."""
    text = (resources.files("conf") / "models.yaml").read_text(encoding="utf-8")
    check = TypeAdapter(Model)
    listed = yaml.safe_load(text).items()
    return {name: check.validate_json(json.dumps({"name": name, **entry}), strict=True) for name, entry in listed}
