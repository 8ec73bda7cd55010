"""A profile as a complete file: every key with its value, and above it what it does, in the words of its own docs."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import yaml

from conf.loader import describe, load, to_dict
from conf.parameter_docs import explanations, kind_of_value, type_hints
from conf.pipeline import PipelineConfig

_WIDTH = 100


def commented_profile(name: str) -> str:
    """Return a built-in profile as a YAML file with all keys. Raises `ConfigError` for an unknown one.

    Sections that no stage of the profile reads are there as comments, since a run names keys that nothing reads.
    """
    config = load(name).config
    values = to_dict(config)
    lines = [
        *_comment(
            f"Every key of the profile {name}, with its value. What you delete keeps its default; add a stage by "
            "its name, and remove the # before the section that it reads.",
            "",
        ),
        f"description: {_value(describe(name))}",
        "",
    ]
    lines += _keys(PipelineConfig, values, "")
    sections = [entry for entry in fields(PipelineConfig) if is_dataclass(entry.default)]
    for entry in sections:
        if entry.name in config.read_sections:
            lines += ["", *_section(entry, values[entry.name])]
    unread = [entry for entry in sections if entry.name not in config.read_sections]
    if unread:
        lines += ["", *_comment("Sections of stages that this profile does not run.", "")]
    for entry in unread:
        lines += ["#", *(f"# {line}".rstrip() for line in _section(entry, values[entry.name]))]
    return "\n".join(lines) + "\n"


def _section(entry: Any, values: Mapping[str, Any]) -> list[str]:
    kind = type(entry.default)
    first = inspect.cleandoc(kind.__doc__ or "").split("\n", 1)[0]
    return [*_comment(first, ""), f"{entry.name}:", *_keys(kind, values, "  ")]


def _keys(kind: type, values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield the lines of the keys of a parameter class, but for those that are sections."""
    explained, hints = explanations(kind), type_hints(kind)
    for entry in fields(kind):
        if is_dataclass(entry.default):
            continue
        meaning = f"{explained.get(entry.name, '')} [{kind_of_value(hints[entry.name])}]".strip()
        yield from _comment(meaning, indent)
        yield f"{indent}{entry.name}: {_value(values[entry.name])}"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _value(value: Any) -> str:
    """Return a value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
