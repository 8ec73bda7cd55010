"""A stage of a pipeline, and its key, the identity of what it computes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from blake3 import blake3

import schemas
from conf.rules import Rule
from conf.stage_spec import Kind, Scope, StageSpec
from conf.stages import SPECS
from jobs.core.code_hash import code_hash
from transforms.models.inference import AnyModel


class UnstableParameterError(TypeError):
    """A parameter has no canonical form, so that two runs could not tell whether they mean the same."""


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline.

    `kind`: a `pixels` stage is part of the pass that reads frames and has one row per frame; a `model` stage shows
    frames to a model, which `make` returns, given the number of its threads, each with the `context` frames before it;
    a `calls` stage asks a service outside; a `table` stage computes whole scopes from the rows of its upstream stages.
    `code` are the functions that compute it, `params` those that decide its result, under the keys by which a user sets
    them. `version` is raised by hand where a library changes results that the code does not show. `scope` is what is
    computed together; of a `run`, the streams have rows of their own that depend on all of them. `rule` chooses the
    frames that a model processes; it is no part of the key, since it decides which rows there are, not their values.
    """

    name: str
    kind: Kind
    table: schemas.Table
    code: tuple[Callable[..., Any], ...]
    params: Mapping[str, Any]
    upstream: tuple[Stage, ...] = ()
    scope: Scope = "frame"
    version: int = 1
    make: Callable[[int], AnyModel] | None = None
    context: int = 0
    rule: Rule | None = None

    @property
    def spec(self) -> StageSpec:
        """Return the declaration of the stage."""
        return SPECS[self.name]

    def upstream_of(self, table: schemas.Table) -> Stage:
        """Return the stage that it reads and that writes a table."""
        return next(stage for stage in self.upstream if table in stage.spec.tables)

    def made_by(self, make: Callable[[int], AnyModel]) -> Stage:
        """Return the stage with what makes its model."""
        return dataclasses.replace(self, make=make)

    @cached_property
    def code_hash(self) -> str:
        """Return a hash of the code that decides the result; comments and docstrings do not count."""
        return code_hash(self.code)

    @cached_property
    def key(self) -> str:
        """Return the stage key: 16 hex digits that change with anything that could change a row."""
        parts = [
            self.name,
            self.version,
            self.code_hash,
            canonical(self.params),
            [[column.name, str(column.dtype)] for column in self.table.columns if not column.on_request],
            [stage.key for stage in self.upstream],
        ]
        return blake3(json.dumps(parts).encode()).hexdigest()[:16]


def canonical(value: Any, where: str = "parameter") -> Any:
    """Return a value as JSON data that is equal for equal parameters.

    Raises `UnstableParameterError`, naming the parameter, for what has no such form: objects, functions, NaN.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return int(value) if value.is_integer() else value
        raise UnstableParameterError(f"{where} is {value}, expected a finite number")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return canonical({f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, where)
    if isinstance(value, Mapping):
        return {str(k): canonical(v, f"{where}.{k}") for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, (set, frozenset)):
        return sorted((canonical(v, where) for v in value), key=json.dumps)
    if isinstance(value, (list, tuple)):
        return [canonical(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise UnstableParameterError(
        f"{where} is a {type(value).__name__}, which has no canonical form; expected numbers, text, lists and mappings"
    )
