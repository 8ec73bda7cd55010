"""Resolution of names in source text: what a module defines and imports, read from its syntax tree."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PACKAGE = "transforms"
# Declarations of tables are part of a stage key by themselves.
_OTHER_ROOMS = frozenset({"schemas", "conf", "jobs"})
# How bytes are read (requests, retries, credentials) does not affect their contents.
_WAYS_TO_BYTES = ("transforms.io",)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class UntraceableCodeError(TypeError):
    """Code whose uses cannot be resolved from source text, so that changes would go unnoticed."""


class Definition(NamedTuple):
    """A name that a module defines at its top level, or `Class.member`."""

    module: str
    name: str


@dataclass(frozen=True)
class OwnModule:
    """A module of the hashed package."""

    module: str


@dataclass(frozen=True)
class Imported:
    """A name imported from a module of the hashed package, which may have imported it too."""

    module: str
    name: str


@dataclass(frozen=True)
class Outside:
    """A name outside the hashed package: its full name, or only the last part if it is ours and may be moved."""

    name: str
    is_ours: bool

    def member(self, name: str) -> Outside:
        """Return the binding of an attribute."""
        return Outside(name if self.is_ours else f"{self.name}.{name}", self.is_ours)


Binding = OwnModule | Imported | Outside | Definition


@dataclass
class SourceModule:
    """The top-level definitions and imports of a module, by name."""

    name: str
    is_package: bool
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, Binding] = field(default_factory=dict)

    def definition(self, qualname: str) -> list[ast.stmt]:
        """Return the statements that define a name. Raises `UntraceableCodeError` if there are none."""
        name, _, member = qualname.partition(".")
        found = self.defined.get(name, [])
        if member:
            found = [each for node in found for each in members_of(node).get(member, [])]
        if not found:
            raise UntraceableCodeError(f"{self.name}: {qualname} is not defined at its top level")
        return found

    def member(self, name: str) -> Binding:
        """Return the binding of a name of this module. Raises `UntraceableCodeError` if it has none."""
        if name in self.defined:
            return Definition(self.name, name)
        if name in self.imported:
            return followed(self.imported[name])
        if self.is_package and source_of(f"{self.name}.{name}") is not None:
            return OwnModule(f"{self.name}.{name}")
        raise UntraceableCodeError(f"{self.name} has no {name}: neither a definition, nor an import, nor a module")


def followed(binding: Binding) -> Binding:
    """Return the final binding of a name, after all intermediate imports."""
    return member_of(binding.module, binding.name) if isinstance(binding, Imported) else binding


def member_of(module: str, name: str) -> Binding:
    """Return what a name of a module refers to. Raises `UntraceableCodeError` if there is none of that name."""
    if any(module == way or module.startswith(f"{way}.") for way in _WAYS_TO_BYTES):
        return Outside(name, is_ours=True)
    return source_module(module).member(name)


@cache
def source_of(module: str) -> Path | None:
    """Return the file of a module; None where there is no such module."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


@cache
def source_module(name: str) -> SourceModule:
    """Return what a module defines and imports. Raises `UntraceableCodeError` where it has no source."""
    source = source_of(name)
    if source is None:
        raise UntraceableCodeError(f"there is no source for module {name}")
    module = SourceModule(name, source.name == "__init__.py")
    for node in _statements(ast.parse(source.read_text(encoding="utf-8")).body):
        module.imported |= imports_of(node, name)
        for bound in bound_by(node):
            module.defined.setdefault(bound, []).append(node)
    return module


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a block, and those of blocks within that bind names in the same scope."""
    for node in body:
        blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        if isinstance(node, (ast.If, ast.Try)):
            blocks += [handler.body for handler in getattr(node, "handlers", [])]
            for block in blocks:
                yield from _statements(block)
        else:
            yield node


def members_of(node: ast.stmt) -> dict[str, list[ast.stmt]]:
    """Return the statements of a class by the names that they define."""
    found: dict[str, list[ast.stmt]] = {}
    for each in _statements(node.body) if isinstance(node, ast.ClassDef) else ():
        for name in bound_by(each):
            found.setdefault(name, []).append(each)
    return found


def imports_of(node: ast.AST, module: str) -> dict[str, Binding]:
    """Return the names that a statement imports. Raises `UntraceableCodeError` for imports that are not followed."""
    found: dict[str, Binding] = {}
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            root = alias.name.partition(".")[0]
            ours = OwnModule(whole) if root == _PACKAGE else Outside(whole, root in _OTHER_ROOMS)
            found[alias.asname or whole] = ours
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise UntraceableCodeError(
                f"{module}, line {node.lineno}: a relative import is not followed into a stage key; expected "
                f"`from {_PACKAGE}.… import …`"
            )
        root = (node.module or "").partition(".")[0]
        for alias in node.names:
            if root != _PACKAGE:
                full = alias.name if root in _OTHER_ROOMS else f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = Outside(full, root in _OTHER_ROOMS)
            elif alias.name == "*":
                raise UntraceableCodeError(
                    f"{module}, line {node.lineno}: a star import is not followed into a stage key; expected names"
                )
            else:
                found[alias.asname or alias.name] = Imported(str(node.module), alias.name)
    return found


def bound_by(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds in its own scope, without imports."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]


def own_nodes(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Yield nodes and their descendants in the same scope."""
    for node in nodes:
        yield node
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            continue
        if isinstance(node, COMPREHENSIONS):
            # Only names bound by `:=` are visible outside of it.
            yield from (each for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
            continue
        yield from own_nodes(list(ast.iter_child_nodes(node)))


def names_bound(node: ast.AST) -> list[str]:
    """Return the names that a node itself binds in the scope of its function."""
    if isinstance(node, ast.NamedExpr):
        return [node.target.id]
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return [node.id]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.ExceptHandler) and node.name:
        return [node.name]
    if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name:
        return [node.name]
    return [node.rest] if isinstance(node, ast.MatchMapping) and node.rest else []
