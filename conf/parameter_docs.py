"""What the parameters' own docstrings and types say of each key, for reference pages and commented files."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt

_BOUNDS = {Ge: ("ge", "from {}"), Gt: ("gt", "above {}"), Le: ("le", "to {}"), Lt: ("lt", "below {}")}


def explanations(kind: type) -> dict[str, str]:
    """Return what a parameter class's docstring says of each key: text after `` `key`: `` or `` `one`, `other`: ``.

    Keys of a base class are explained there.
    """
    text = inspect.cleandoc(kind.__doc__ or "")
    found: dict[str, str] = {}
    for base in kind.__bases__:
        if dataclasses.is_dataclass(base):
            found |= explanations(base)
    head = re.compile(r"(?m)^(`[a-z_0-9]+`(?:, `[a-z_0-9]+`)*): ")
    at = [*head.finditer(text)]
    for here, after in zip_longest(at, at[1:]):
        said = " ".join(text[here.end() : after.start() if after else None].split())
        for name in re.findall(r"`([a-z_0-9]+)`", here[1]):
            found[name] = said[0].upper() + said[1:]
    return found


def type_hints(kind: type) -> dict[str, Any]:
    """Return the types of a parameter class's keys, with their bounds."""
    return typing.get_type_hints(kind, include_extras=True)


def kind_of_value(hint: Any) -> str:
    """Return what values a key takes, in words: `number from 0 to 1`, say."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        words = [_BOUNDS[type(b)][1].format(getattr(b, _BOUNDS[type(b)][0])) for b in hint.__metadata__]
        return f"{kind_of_value(arguments[0])} {' '.join(words)}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(kind_of_value(a) for a in arguments)
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is tuple:
        return f"list of {kind_of_value(arguments[0])}"
    if origin is Mapping:
        return f"{kind_of_value(arguments[1])} for each name"
    return {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "none"}[hint]
