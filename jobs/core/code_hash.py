"""Hash of code for stage keys: functions, and all definitions of `transforms` that they reach.

It works on syntax trees of the source text, so that it is the same on every machine and imports nothing. What does not
affect results is not hashed: comments, layout, docstrings, annotations, the wording of errors, the form of imports, and
the location of a definition. So names of modules are not hashed; names of functions, classes and constants are.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from blake3 import blake3

from jobs.core.code_hash_cache import remembered
from jobs.core.code_names import (
    COMPREHENSIONS,
    FUNCTIONS,
    Binding,
    Definition,
    Outside,
    OwnModule,
    SourceModule,
    UntraceableCodeError,
    followed,
    imports_of,
    member_of,
    members_of,
    names_bound,
    own_nodes,
    source_module,
)

_LAYOUT = frozenset({"annotation", "returns", "type_comment", "type_ignores", "kind", "ctx"})


def code_hash(entries: Sequence[Callable[..., Any]]) -> str:
    """Return 16 hex digits that change when the code of these functions, or of what they use of `transforms`, changes.

    Raises `UntraceableCodeError` for code that cannot be followed: relative and star imports, modules that are passed
    around as values, and undefined names.
    """
    definitions = tuple(Definition(entry.__module__, entry.__qualname__) for entry in entries)
    return remembered(definitions, lambda: _hash_of(definitions))


@cache
def _hash_of(entries: tuple[Definition, ...]) -> str:
    texts = reached(entries)
    own = {place: blake3(text.encode()).hexdigest()[:16] for place, (text, _) in texts.items()}
    # Two definitions of one name are distinguished by the hashes of their texts.
    lines = sorted(
        " ".join([place.name, text, *sorted(f"{used.name}={own[used]}" for used in uses)])
        for place, (text, uses) in texts.items()
    )
    return blake3("\n".join(lines).encode()).hexdigest()[:16]


def reached(entries: Sequence[Definition]) -> dict[Definition, tuple[str, frozenset[Definition]]]:
    """Return the definitions that some of them reach, these included: of each the hashed text and what it uses."""
    found: dict[Definition, tuple[str, frozenset[Definition]]] = {}
    pending = list(entries)
    while pending:
        place = pending.pop()
        if place not in found:
            found[place] = _described(place)
            pending += found[place][1]
    return found


@cache
def _described(place: Definition) -> tuple[str, frozenset[Definition]]:
    """Return the canonical text of a definition and the places that it uses."""
    module = source_module(place.module)
    texts, uses = [], set[Definition]()
    for node in module.definition(place.name):
        writer = _Writer(module, place.name.rpartition(".")[0])
        writer.write(node)
        texts.append("".join(writer.out))
        uses |= writer.uses
    return ";".join(texts), frozenset(uses - {place})


class _Writer:
    """Writes a definition as text without layout, and collects the places that it uses."""

    def __init__(self, module: SourceModule, owner: str) -> None:
        self.out: list[str] = []
        self.uses: set[Definition] = set()
        self._module = module
        self._owner = owner
        self._self: str | None = None
        # The innermost scope is last; None marks a name that is bound there by something other than an import.
        self._scopes: list[Mapping[str, Binding | None]] = []
        self._is_message = False

    def write(self, node: ast.AST) -> None:
        """Append a node and everything below it."""
        if self._is_message and (isinstance(node, ast.JoinedStr) or _is_text(node)):
            self.out.append("text")
        elif isinstance(node, ast.Constant):
            self.out.append(f"{type(node.value).__name__}:{node.value!r}")
        elif isinstance(node, (ast.Name, ast.Attribute)):
            self._write_reference(node)
        elif isinstance(node, FUNCTIONS):
            self._write_function(node)
        elif isinstance(node, COMPREHENSIONS):
            targets = [each.id for g in node.generators for each in ast.walk(g.target) if isinstance(each, ast.Name)]
            self._within(dict.fromkeys(targets), node)
        elif isinstance(node, (ast.Raise, ast.Assert)):
            message, self._is_message = self._is_message, True
            self._write_fields(node)
            self._is_message = message
        else:
            self._write_fields(node)

    def _write_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        given = node.args
        names = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        scope: dict[str, Binding | None] = dict.fromkeys(each.arg for each in names)
        if not self._scopes and self._owner and given.args:
            self._self = given.args[0].arg
        body = list(own_nodes(node.body if isinstance(node.body, list) else [node.body]))
        for each in body:
            scope |= dict.fromkeys(names_bound(each))
            scope |= imports_of(each, self._module.name)
        for name in (name for each in body if isinstance(each, (ast.Global, ast.Nonlocal)) for name in each.names):
            scope.pop(name, None)
        self._within(scope, node)

    def _within(self, scope: Mapping[str, Binding | None], node: ast.AST) -> None:
        self._scopes.append(scope)
        self._write_fields(node)
        self._scopes.pop()

    def _write_fields(self, node: ast.AST) -> None:
        self.out.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name in _LAYOUT or value is None or value == []:
                continue
            self.out.append(f"{name}=")
            if isinstance(value, list):
                self.out.append("[")
                for each in value:
                    if _does_nothing(each):
                        continue
                    self._write_value(each)
                    self.out.append(",")
                self.out.append("]")
            else:
                self._write_value(value)
        self.out.append(")")

    def _write_value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self.write(value)
        else:
            self.out.append(repr(value))

    def _write_reference(self, node: ast.Name | ast.Attribute) -> None:
        binding = self.meaning(node)
        if isinstance(binding, OwnModule):
            raise UntraceableCodeError(
                f"{self._module.name}, line {node.lineno}: module {binding.module} is used as a value, so that it is "
                "unknown which of its names are used; expected names of it"
            )
        if isinstance(binding, Definition):
            self.uses.add(binding)
            self.out.append(f"<{binding.name}>")
        elif isinstance(binding, Outside):
            self.out.append(f"<{binding.name}>")
        elif isinstance(node, ast.Name):
            self.out.append(node.id)
        else:
            if isinstance(node.value, ast.Name) and node.value.id == self._self:
                self._note_own_member(node.attr)
            self.write(node.value)
            self.out.append(f".{node.attr}")

    def meaning(self, node: ast.AST) -> Binding | None:
        """Return the import or top-level definition to which an expression refers, or None."""
        if isinstance(node, ast.Name):
            for scope in reversed(self._scopes):
                if node.id in scope:
                    binding = scope[node.id]
                    return None if binding is None else followed(binding)
            if node.id in self._module.defined:
                return Definition(self._module.name, node.id)
            return followed(self._module.imported[node.id]) if node.id in self._module.imported else None
        if isinstance(node, ast.Attribute):
            base = self.meaning(node.value)
            if isinstance(base, OwnModule):
                return member_of(base.module, node.attr)
            return base.member(node.attr) if isinstance(base, Outside) else None
        return None

    def _note_own_member(self, name: str) -> None:
        """Record which member of its own class a method uses, or else the constructor, which may set the attribute."""
        for module, owner in _with_bases(Definition(self._module.name, self._owner)):
            members = {each for node in source_module(module).definition(owner) for each in members_of(node)}
            for wanted in (name, "__init__"):
                if wanted in members:
                    self.uses.add(Definition(module, f"{owner}.{wanted}"))
                    return


def _with_bases(place: Definition) -> Iterator[Definition]:
    """Yield a class and its base classes within the package, nearest first."""
    yield place
    module = source_module(place.module)
    for node in module.definition(place.name):
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            meant = _Writer(module, "").meaning(base)
            if isinstance(meant, Definition):
                yield from _with_bases(meant)


def _does_nothing(node: object) -> bool:
    """Return whether a statement has no effect: imports, `pass`, docstrings and other unused strings."""
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)) or (
        isinstance(node, ast.Expr) and _is_text(node.value)
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
