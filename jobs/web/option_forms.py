"""Options of a job as a form: what each takes, its default and what it is, read from the options' own model."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.web import setting_forms

_BOUNDS = (Ge, Gt, Le, Lt)


def form(options: type[BaseModel], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return each option as settings of the configuration are described, in order; `needed` has no default.

    Shares by name, as of splits, are of the form `shares`. `texts` has what each option is.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    return [_described(name, entry, bare(hints[name]), texts[name]) for name, entry in options.model_fields.items()]


def bare(hint: Any) -> Any:
    """Return a type with its bounds, without what else pydantic is given with it, as lengths of texts."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inner, said = arguments[0], arguments[1:]
        bounds = [bound for each in said for bound in _bounds_of(each)]
        # In order of the words: from 1 to 100.
        bounds.sort(key=lambda bound: isinstance(bound, (Le, Lt)))
        plain: Any = bare(inner)
        return Annotated[(plain, *bounds)] if bounds else plain
    if origin in (types.UnionType, typing.Union):
        return reduce(or_, [bare(each) for each in arguments])
    if origin is tuple:
        return types.GenericAlias(tuple, (bare(arguments[0]), ...))
    if origin is dict:
        return types.GenericAlias(dict, (bare(arguments[0]), bare(arguments[1])))
    return hint


def _bounds_of(said: Any) -> list[Any]:
    given = said.metadata if isinstance(said, FieldInfo) else [said]
    return [each for each in given if isinstance(each, _BOUNDS)]


def _described(name: str, entry: FieldInfo, hint: Any, text: str) -> dict[str, Any]:
    needed = entry.is_required()
    default = None if needed else entry.get_default(call_default_factory=True)
    if typing.get_origin(hint) is dict:
        share = typing.get_args(hint)[1]
        found = setting_forms.setting(name, share, default, default, text)
        found |= {"form": "shares", "kind": f"{found['kind']} for each name"}
    else:
        found = setting_forms.setting(name, hint, default, default, text)
    return found | {"needed": needed}
