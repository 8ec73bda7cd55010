"""The configuration as a form: sections and settings with type, unit, bounds, default and explanation.

All of it is read from the parameter classes themselves, so that a new setting is in the form without an edit here.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from conf import PipelineConfig
from conf.loader import describe, profile_names
from conf.parameter_docs import explanations, kind_of_value, type_hints
from conf.pipeline import RULED_STAGES
from conf.stages import STAGES

ALWAYS_READ = ("ingest", "image", "resources")
"""Sections that every run reads."""

_UNITS = {"_s": "s", "_seconds": "s", "_ms": "ms", "_px": "px", "_mb": "MB", "_megapixels": "megapixels", "_cpus": ""}
_OF_LONG_SIDE = "px"
_GENERAL = "general"


def form(config: PipelineConfig) -> dict[str, Any]:
    """Return profiles, stages and sections, with the values that a configuration has.

    A stage is `chosen` where the configuration names it, and `runs` also where another one needs it. A section has the
    `stages` that read it; without any, every run does.
    """
    closed = set(config.closed_stages)
    return {
        "profiles": [{"name": name, "text": describe(name)} for name in profile_names()],
        "stages": [
            {
                "name": spec.name,
                "text": spec.table.doc,
                "optional": spec.optional,
                "chosen": spec.name in config.stages,
                "runs": spec.name in closed,
            }
            for spec in STAGES
        ],
        "sections": [*_general(config), *_sections(config)],
    }


def settings_of(config: PipelineConfig, section: str) -> list[dict[str, Any]]:
    """Return the settings of a section: key, value, default, type in words, unit, bounds, choices, explanation.

    `low` and `high` are the least and the largest value, None without one; `choices` are all values there are, of a
    `list` those of its parts; with `none`, no value is a value.
    """
    params = getattr(config, section)
    return [
        setting(f"{section}.{name}", hint, getattr(params, name), getattr(type(params)(), name), text)
        for name, hint, text in _explained(type(params))
    ]


def bounds(hint: Any) -> tuple[float | None, float | None]:
    """Return the least and the largest value that a type allows, None where there is none."""
    low = high = None
    for part in (hint, *typing.get_args(hint)):
        for bound in getattr(part, "__metadata__", ()):
            if isinstance(bound, Ge):
                low = float(bound.ge)  # type: ignore[arg-type]
            elif isinstance(bound, Gt):
                low = float(bound.gt)  # type: ignore[arg-type]
            elif isinstance(bound, Le):
                high = float(bound.le)  # type: ignore[arg-type]
            elif isinstance(bound, Lt):
                high = float(bound.lt)  # type: ignore[arg-type]
    return low, high


def _general(config: PipelineConfig) -> Iterator[dict[str, Any]]:
    """Yield the section of keys that are in none, and that of the rules."""
    explained = {name: (hint, text) for name, hint, text in _explained(PipelineConfig)}
    hint, text = explained["unit_frames"]
    default = PipelineConfig().unit_frames
    general = [setting("unit_frames", hint, config.unit_frames, default, text)]
    yield {"name": _GENERAL, "text": "What is in no section.", "stages": [], "settings": general}
    _, text = explained["when"]
    rules = [
        {**setting(f"when.{stage}", str | None, config.when.get(stage), None, text), "kind": "SQL condition"}
        for stage in RULED_STAGES
    ]
    yield {"name": "when", "text": text, "stages": list(RULED_STAGES), "settings": rules}


def _sections(config: PipelineConfig) -> Iterator[dict[str, Any]]:
    for entry in fields(PipelineConfig):
        if is_dataclass(entry.default):
            yield {
                "name": entry.name,
                "text": inspect.cleandoc(type(entry.default).__doc__ or "").split("\n", 1)[0],
                "stages": [] if entry.name in ALWAYS_READ else _readers(entry.name),
                "settings": settings_of(config, entry.name),
            }


def _readers(section: str) -> list[str]:
    """Return the stages that read a section; the settings of a single detector are those of what detects."""
    found = [spec.name for spec in STAGES if section in spec.section_names]
    return found or [spec.name for spec in STAGES if spec.model and spec.model.weights == "detector"]


def _explained(kind: type) -> Iterator[tuple[str, Any, str]]:
    texts = explanations(kind)
    for name, hint in type_hints(kind).items():
        yield name, hint, texts.get(name, "")


def setting(key: str, hint: Any, value: Any, default: Any, text: str) -> dict[str, Any]:
    """Return one setting as `settings_of` does, by its type with bounds."""
    low, high = bounds(hint)
    return {
        "key": key,
        "value": _plain(value),
        "default": _plain(default),
        "kind": kind_of_value(hint),
        "form": _form_of(hint),
        "none": type(None) in typing.get_args(hint),
        "choices": _choices(hint),
        "unit": _unit(key),
        "low": low,
        "high": high,
        "text": text,
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _bare(hint: Any) -> Any:
    """Return a type without bounds, and without the None that it may also be."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _bare(arguments[0])
    if origin in (types.UnionType, typing.Union):
        others = [part for part in arguments if part is not type(None)]
        return _bare(others[0]) if len(others) == 1 else hint
    return hint


def _form_of(hint: Any) -> str:
    """Return what a setting is filled in as: `switch`, `choice`, `choices`, `integer`, `number`, `list` or `text`."""
    bare = _bare(hint)
    origin = typing.get_origin(bare)
    if origin is Literal:
        return "choice"
    if origin is tuple:
        return "choices" if _choices(hint) else "list"
    return {bool: "switch", int: "integer", float: "number"}.get(bare, "text")


def _choices(hint: Any) -> list[str]:
    bare = _bare(hint)
    if typing.get_origin(bare) is tuple:
        bare = typing.get_args(bare)[0]
    return [str(each) for each in typing.get_args(bare)] if typing.get_origin(bare) is Literal else []


def _unit(key: str) -> str:
    if key == "size" or key.endswith(("long_side", ".size")):
        return _OF_LONG_SIDE
    return next((unit for ending, unit in _UNITS.items() if key.endswith(ending)), "")
