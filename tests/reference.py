"""Reference pages made from the declarations: `python -m tests.reference` writes them, `make check` compares them."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import typer

import schemas
from conf import PipelineConfig
from conf.parameter_docs import explanations, kind_of_value, type_hints
from jobs.cli.program import program

ROOT = Path(__file__).parents[1]
_NOTE = "<!-- Written by `make docs` from the code. -->\n"


def pages() -> dict[str, str]:
    """Return the text of every reference page by its path below the repository."""
    return {
        "docs/tables.md": tables_page(),
        "docs/commands.md": commands_page(),
        "docs/configuration.md": configuration_page(),
    }


def _grid(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def tables_page() -> str:
    """Return the page that lists every table and column."""
    parts = [
        _NOTE,
        "# Tables\n",
        "A workspace is a folder with one [Delta Lake](https://delta.io) table per kind of row. `winnow sql` shows",
        "them under these names, and as `curated`, with one row per frame and the columns of all per-frame tables;",
        "`objects`, the annotations as they stand after [reviews](review.md), with `decision` and `reviewer`; and",
        "`NAME_all` for every table that belongs to a stage, with the rows of every configuration instead of the",
        "current one. See [concepts](concepts.md) for what `stage_key` and `input_id` mean.\n",
    ]
    for table in (*schemas.ALL, schemas.JOURNAL):
        parts.append(f"## {table.name}\n")
        partitioned = f" Partitioned by `{'`, `'.join(table.partition_by)}`." if table.partition_by else ""
        parts.append(f"{table.doc} Key: `{'`, `'.join(table.key)}`.{partitioned}\n")
        rows = []
        for c in table.columns:
            null = " Null where it is not known." if c.nullable and "null" not in c.doc else ""
            unit = f" [{c.unit}]" if c.unit else ""
            rows.append((f"`{c.name}`", f"`{c.dtype}`", f"{c.doc}{unit}{null}"))
        parts.append(_grid(("column", "type", "meaning"), rows))
    return "\n".join(parts)


def commands_page() -> str:
    """Return the page that lists every command and option."""
    parts = [
        _NOTE,
        "# Commands\n",
        "Results go to standard output, errors to standard error, one line each. With `--json` a command prints",
        "JSON as its last line: an object, or a list of objects where it lists things; if it fails, that is",
        '`{"error": [LINE, …], "exit_code": N}`, with the lines that standard error has.',
        "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 finished with corrupt or",
        "quarantined frames under `--strict`, 4 paused, 5 cancelled, 130 interrupted at once.\n",
    ]
    for path, function in commands():
        text, example = described(function)
        parts += [f"## {path}\n", text + "\n", f"```\n{example}\n```\n"]
        hints = typing.get_type_hints(function, include_extras=True)
        rows = [_option(name, hints[name], given) for name, given in inspect.signature(function).parameters.items()]
        if rows:
            parts.append(_grid(("option", "meaning"), rows))
    return "\n".join(parts)


def commands() -> list[tuple[str, Callable[..., Any]]]:
    """Return every command's function with the words that call it."""
    found: list[tuple[str, Callable[..., Any]]] = []

    def visit(path: str, program: typer.Typer) -> None:
        for command in program.registered_commands:
            assert command.callback is not None
            if command.hidden:
                continue
            found.append((f"{path} {command.name or command.callback.__name__}", command.callback))
        for group in program.registered_groups:
            assert group.typer_instance is not None
            visit(f"{path} {group.name}", group.typer_instance)

    visit("winnow", program())
    return found


def described(function: Callable[..., Any]) -> tuple[str, str]:
    """Return a command's help without its example, and the example."""
    text, _, example = inspect.cleandoc(function.__doc__ or "").partition("\nExample: ")
    return text.strip(), example.strip()


def _option(name: str, hint: Any, given: inspect.Parameter) -> tuple[str, str]:
    kind, info = typing.get_args(hint)[:2]
    text = info.help or ""
    if given.default is inspect.Parameter.empty:
        text += " Required."
    elif isinstance(info.show_default, str):
        variable = f"`${info.envvar}`, else " if info.envvar else ""
        text += f" Default: {variable}{info.show_default}."
    elif given.default is not None and kind is not bool:
        text += f" Default: {getattr(given.default, 'value', given.default)}."
    if isinstance(info, typer.models.ArgumentInfo):
        return f"`{name.upper()}`", text
    # In Annotated, typer takes the first spelling for a default value.
    spelled = [n for n in (info.default, *(info.param_decls or ())) if isinstance(n, str)]
    names = ", ".join(f"`{n}`" for n in spelled or [f"--{name.replace('_', '-')}"])
    return (names if kind is bool else f"{names} {info.metavar or _placeholder(kind)}"), text


def _placeholder(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{word}`" for word in typing.get_args(kind))
    kinds = [k for k in typing.get_args(kind) or (kind,) if k is not type(None)]
    if typing.get_origin(kinds[0]) is typing.Literal:
        return _placeholder(kinds[0])
    if isinstance(kinds[0], type) and issubclass(kinds[0], Enum):
        return ", ".join(f"`{member.value}`" for member in kinds[0])
    return {int: "N", Path: "PATH"}.get(kinds[0], "TEXT")


def configuration_page() -> str:
    """Return the page that lists every configuration key."""
    parts = [
        _NOTE,
        "# Configuration\n",
        "Keys are set with `--set KEY=VALUE`, in a YAML file (`--config FILE.yaml`, sections as mappings), or by a",
        "`PipelineConfig` in a Python file (`--config FILE.py:ATTRIBUTE`); `--profile` names where to start from. What",
        "stands later wins: profile, file, `--set`. A key that is not known, or a value of the wrong type, stops the",
        "run before any work, and the message names the nearest key.\n",
        "## Top level\n",
        _section(PipelineConfig, ""),
    ]
    for entry in dataclasses.fields(PipelineConfig):
        if dataclasses.is_dataclass(entry.default):
            kind = type(entry.default)
            first = inspect.cleandoc(kind.__doc__ or "").split("\n", 1)[0]
            parts += [f"## {entry.name}\n", f"{first}\n", _section(kind, f"{entry.name}.")]
    return "\n".join(parts)


def _section(kind: type, prefix: str) -> str:
    explained = explanations(kind)
    hints = type_hints(kind)
    rows = []
    for entry in dataclasses.fields(kind):
        if dataclasses.is_dataclass(entry.default):
            continue
        default = list(entry.default) if isinstance(entry.default, tuple) else entry.default
        default = {} if default is dataclasses.MISSING else default
        shown = "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        rows.append(
            (f"`{prefix}{entry.name}`", kind_of_value(hints[entry.name]), f"`{shown}`", explained.get(entry.name, ""))
        )
    return _grid(("key", "value", "default", "meaning"), rows)


if __name__ == "__main__":
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8")
