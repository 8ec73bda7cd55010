"""A hash of the code that decides a result: functions, and whatever they use of our own algorithms.

Works on source text alone, so that it is the same on every machine and imports nothing. Docstrings, comments on lines
of their own and blank lines do not count, nor do types that are only named in annotations.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from blake3 import blake3

_PACKAGE = "transforms"
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Place = tuple[str, str]
"""A module and a name defined at its top level, or `Class.method`."""


def code_hash(entries: Sequence[Callable[..., Any]]) -> str:
    """Return 16 hex digits that change when these functions, or anything they use of `transforms`, do other things."""
    return _hash_of(tuple((entry.__module__, entry.__qualname__) for entry in entries))


@cache
def _hash_of(entries: tuple[Place, ...]) -> str:
    texts = code_texts(entries)
    joined = "\n".join(f"{module}.{name}\n{text}" for (module, name), text in texts.items())
    return blake3(joined.encode()).hexdigest()[:16]


def code_texts(entries: Sequence[Place]) -> dict[Place, str]:
    """Return the normalised source of the given places and of all that they reach, in a fixed order."""
    found: dict[Place, str] = {}
    pending = list(entries)
    while pending:
        place = pending.pop()
        if place in found:
            continue
        module = _module(place[0])
        node = module.definition(place[1])
        found[place] = normalised(module.text(node))
        pending += module.uses(node)
    return dict(sorted(found.items()))


def normalised(source: str) -> str:
    """Return source text without docstrings, full-line comments and blank lines."""
    source = textwrap.dedent(source)
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            text = node.body[0]
            for number in range(text.lineno - 1, text.end_lineno or text.lineno):
                lines[number] = ""
    kept = [line.rstrip() for line in lines]
    return "\n".join(line for line in kept if line and not line.lstrip().startswith("#"))


@dataclass
class _Module:
    """What a module defines and imports at its top level, by name."""

    name: str
    lines: list[str]
    defined: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, Place] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    def definition(self, qualname: str) -> ast.stmt:
        name, _, member = qualname.partition(".")
        node = self.defined[name]
        if member:
            assert isinstance(node, ast.ClassDef)
            node = next(n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == member)
        return node

    def text(self, node: ast.stmt) -> str:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        return "\n".join(self.lines[first - 1 : node.end_lineno])

    def uses(self, node: ast.stmt) -> list[Place]:
        """Return the places in our own algorithms that a definition refers to."""
        imported, modules = dict(self.imported), dict(self.modules)
        for inner in ast.walk(node):
            _note_import(inner, imported, modules)
        found: list[Place] = []
        for inner in _without_annotations(node):
            if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id in modules:
                found.append((modules[inner.value.id], inner.attr))
            elif isinstance(inner, ast.Name) and inner.id in imported:
                found.append(imported[inner.id])
            elif isinstance(inner, ast.Name) and inner.id in self.defined:
                found.append((self.name, inner.id))
        return found


@cache
def _module(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no source for module {name}")
    source = Path(spec.origin).read_text()
    module = _Module(name, source.splitlines())
    for node in ast.parse(source).body:
        _note_import(node, module.imported, module.modules)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            module.defined[node.name] = node
        elif isinstance(node, ast.Assign):
            module.defined |= {name.id: node for t in node.targets for name in ast.walk(t) if _is_bound(name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            module.defined[node.target.id] = node
    return module


def _is_bound(node: ast.AST) -> TypeGuard[ast.Name]:
    """Say whether a part of an assignment's target is a name that it gives, alone or together with others."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _note_import(node: ast.AST, imported: dict[str, Place], modules: dict[str, str]) -> None:
    if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == _PACKAGE:
        for alias in node.names:
            if node.module == _PACKAGE:
                modules[alias.asname or alias.name] = f"{_PACKAGE}.{alias.name}"
            else:
                imported[alias.asname or alias.name] = (node.module, alias.name)


def _without_annotations(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _without_annotations(child)
