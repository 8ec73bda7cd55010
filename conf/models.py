"""The catalogue of weights: what they are called, where they come from, and under which licence."""

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
    `hf:ORGANISATION/NAME` is a repository of the Hugging Face hub, and `file` a folder. `sha256` None: the first pull
    records it. `restriction`: what the licence asks beyond naming the authors, None for nothing. `extra`: which
    extra of this package runs them, as which `detector` (None: by no detector as they are). `types`: what a folder may
    say in its `config.json` that it holds; empty for a file.
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


_RESTRICTIONS = (
    (
        "agpl",
        (
            "whoever offers a service with it or passes it on owes its users the source of the whole program, or a "
            "licence bought from its makers"
        ),
    ),
    ("nc", "it must not be used commercially"),
    ("non-commercial", "it must not be used commercially"),
    ("research", "it is for research alone"),
    ("terms", "its provider says what answers may serve for, and rules out models that compete with its own"),
)


def restriction_of(licence: str) -> str | None:
    """Return what a licence, or a provider's terms, ask beyond naming the authors; None if nothing is known."""
    words = set(re.findall(r"[a-z]+(?:-commercial)?", licence.lower()))
    return next((text for word, text in _RESTRICTIONS if word in words), None)


@cache
def catalogue() -> dict[str, Model]:
    """Return all models by name."""
    text = (resources.files("conf") / "models.yaml").read_text(encoding="utf-8")
    check = TypeAdapter(Model)
    listed = yaml.safe_load(text).items()
    return {name: check.validate_json(json.dumps({"name": name, **entry}), strict=True) for name, entry in listed}
