"""Rules: SQL conditions on what earlier stages found, which choose the frames that a model processes.

A rule names columns with their tables (`curation.keep and quality.luma_mean > 40`), or alone where only one table has
them. It is read by DuckDB's own parser, so that nothing is guessed about SQL here; what it means must depend on the
rows of one frame alone, or the order in which frames are read would decide which are chosen.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa

import schemas

TABLES: Mapping[str, schemas.Table] = {
    table.name: table for table in schemas.ALL if table.per_frame or table.of_intervals or table is schemas.STREAMS
}
"""The tables that a rule may name: one row per frame, the interval that a frame is in, or its stream."""

_KEYS = frozenset({*schemas.FRAME_KEY})
_HIDDEN = frozenset({"stage_key", "input_id"})
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window over several rows",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "DEFAULT": "DEFAULT",
    "POSITIONAL_REFERENCE": "a column by its number",
}
MOST_LETTERS = 20_000
"""The longest condition, in characters: what would take minutes to read is no condition of a person."""

_EXAMPLE = "as in curation.keep and quality.luma_mean > 40"


class RuleError(ValueError):
    """A rule cannot be used; `problems` has one line for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Rule:
    """A condition that was understood: with every column under its table's name, and which columns these are."""

    sql: str
    columns: Mapping[str, frozenset[str]] = field(compare=False)

    @property
    def stages(self) -> frozenset[str]:
        """Return the stages whose rows it needs."""
        return frozenset(TABLES[name].written_by for name in self.columns if name != schemas.STREAMS.name)

    def query(self, sources: Mapping[str, str] | None = None) -> str:
        """Return the SELECT of `stream_id` and `frame_idx` of the frames that are chosen.

        It reads a relation for each of its tables, and `frames` always, under their own names or as `sources` has them.
        """
        return f"SELECT frames.stream_id, frames.frame_idx {self._tables(sources or {})} WHERE {self.sql}"

    def answer(self) -> str:
        """Return the SELECT of the value of the condition for each frame."""
        return f"SELECT {self.sql} AS answer {self._tables({})}"

    def _tables(self, sources: Mapping[str, str]) -> str:
        frames = schemas.FRAMES.name
        given = {name: sources.get(name, name) for name in {*self.columns, frames}}
        others = [name for name in sorted(self.columns) if name != frames]
        joins = [_joined(TABLES[name], given[name], given[frames]) for name in others]
        return " ".join([f"FROM (SELECT * FROM {given[frames]}) AS frames", *joins])


KEPT = Rule("curation.keep", {"curation": frozenset({"keep"})})
"""What `frames: kept` means."""


def both(one: Rule | None, other: Rule | None) -> Rule | None:
    """Return the rule that chooses what both choose."""
    if one is None or other is None or one == other:
        return one or other
    names = sorted({*one.columns, *other.columns})
    columns = {name: one.columns.get(name, frozenset()) | other.columns.get(name, frozenset()) for name in names}
    return Rule(f"({one.sql}) AND ({other.sql})", columns)


def understood(text: str) -> Rule:
    """Return the rule that a text states. Raises `RuleError` with everything that is wrong with it."""
    found = _understood(text)
    if not isinstance(found, Rule):
        raise RuleError(list(found))
    return found


@cache
def _understood(text: str) -> Rule | tuple[str, ...]:
    """Return the rule that a text states, or what is wrong with it; a configuration asks for that several times."""
    import duckdb

    if len(text) > MOST_LETTERS:
        return (f"expected at most {MOST_LETTERS:,} characters, found {len(text):,}",)
    try:
        with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as connection:
            return _read(connection, text)
    except RecursionError:
        return ("it is nested too deeply",)
    except RuleError as error:
        return tuple(error.problems)


@cache
def stability() -> Mapping[str, str]:
    """Return `pure`, `changing` or `aggregate` for every function and operator of DuckDB, by its name.

    What has variants of different stability counts as its least stable one. Macros are listed if they are changing.
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        found = dict(connection.execute(_STABILITY).fetchall()) | dict.fromkeys(_OF_THE_CLOCK, "changing")
        macros = connection.execute(_MACROS).fetchall()
    changing = {name for name, kind in found.items() if kind == "changing"}
    # A macro may call another one.
    while more := {name for name, text in macros if name not in changing and changing & set(_WORD.findall(text))}:
        changing |= more
    return found | dict.fromkeys(changing, "changing")


def _read(connection: Any, text: str) -> Rule:
    ((found,),) = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {text}"]).fetchall()
    tree = json.loads(found)
    if tree.get("error"):
        raise RuleError([f"it is no SQL: {tree.get('error_message', 'it cannot be read')}"])
    nodes = [s["node"] for s in tree["statements"]]
    if not _is_one_expression(nodes):
        raise RuleError([f"expected one condition, {_EXAMPLE}"])
    expression = nodes[0]["select_list"][0]
    expression["alias"] = ""
    reading = _Reading(stability())
    reading.read(expression, frozenset())
    if not reading.columns and not reading.problems:
        reading.problems.append(f"it names no column, so that it chooses all frames or none; {_EXAMPLE}")
    if reading.problems:
        raise RuleError(reading.problems)
    ((sql,),) = connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(tree)]).fetchall()
    sql = str(sql).removeprefix("SELECT ")
    rule = Rule(sql, {name: frozenset(columns) for name, columns in sorted(reading.columns.items())})
    _check_type(connection, rule)
    return rule


def relation(table: schemas.Table, columns: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a table that a rule which uses these has to read."""
    key = list(schemas.FRAME_KEY)
    if table.of_intervals:
        key = ["stream_id", "start_idx", "end_idx"]
    elif table is schemas.STREAMS:
        key = ["stream_id"]
    return (*key, *sorted(set(columns) - set(key)))


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint at the known word that is most like an unknown one, or nothing."""
    close = difflib.get_close_matches(word, list(words), 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


# Operators are functions too.
_STABILITY = """
    SELECT function_name, CASE WHEN bool_or(function_type <> 'scalar') THEN min(function_type)
           WHEN bool_and(coalesce(stability, 'CONSISTENT') = 'CONSISTENT' AND NOT coalesce(has_side_effects, false))
           THEN 'pure' ELSE 'changing' END
    FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate') GROUP BY 1
"""

_MACROS = """
    SELECT lower(function_name), lower(macro_definition) FROM duckdb_functions() WHERE macro_definition IS NOT NULL
"""
_WORD = re.compile(r"\w+")
# DuckDB takes these for stable within a query; `age` of one time is that until today.
_OF_THE_CLOCK = (
    *("age", "current_date", "current_localtime", "current_localtimestamp", "current_time", "current_timestamp"),
    *("localtime", "localtimestamp"),
)


class _Reading:
    """What the parts of an expression say, and what is wrong with them; names each column's table on the way."""

    def __init__(self, functions: Mapping[str, str]) -> None:
        self._functions = functions
        self.columns: dict[str, set[str]] = {}
        self.problems: list[str] = []

    def read(self, node: Any, own: frozenset[str]) -> None:
        """Read a node and those below it; `own` are names that an enclosing lambda gives to its parameters."""
        if isinstance(node, list):
            for entry in node:
                self.read(entry, own)
        if not isinstance(node, dict):
            return
        kind = node.get("class")
        if kind in _REFUSED:
            self._say(f"{_REFUSED[kind]} is not allowed: a frame is chosen by its own rows alone")
            return
        if kind == "COLUMN_REF":
            self._name(node, own)
            return
        if kind == "FUNCTION":
            self._call(str(node["function_name"]).lower())
        if kind == "LAMBDA":
            own |= frozenset(_parameters(node["lhs"]))
        for value in node.values():
            self.read(value, own)

    def _say(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _call(self, name: str) -> None:
        kind = self._functions.get(name)
        if kind == "aggregate":
            self._say(f"{name}() sums up several rows: a frame is chosen by its own rows alone")
        elif kind == "changing":
            self._say(f"{name}() gives another answer every time, or does more than answer")
        elif kind is None:
            self._say(f"there is no function {name}(){nearest(name, (n for n, k in self._functions.items() if k))}")

    def _name(self, node: dict[str, Any], own: frozenset[str]) -> None:
        names = [str(n) for n in node["column_names"]]
        if names[0] in own:
            return
        first = names[0].lower()
        if first in TABLES and len(names) > 1:
            self._use(node, first, names[1].lower(), names[2:])
            return
        if len(names) > 1 and not _tables_with(first):
            dotted = ".".join(names[:2])
            if first in schemas.BY_NAME:
                self._say(f"{dotted}: {first} has no one row for a frame; there are: {', '.join(TABLES)}")
            else:
                self._say(f"there is no table {names[0]!r}{nearest(first, TABLES)}; there are: {', '.join(TABLES)}")
            return
        tables = ["frames"] if first in _KEYS else _tables_with(first)
        if not tables:
            known = [f"{t}.{c}" for t in TABLES for c in _columns(t)]
            close = [c for c in known if c.rpartition(".")[2] in difflib.get_close_matches(first, _all_names(), 1, 0.5)]
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            self._say(f"no table has a column {names[0]!r}{hint}; {_EXAMPLE}")
        elif len(tables) > 1:
            self._say(f"column {names[0]!r} is in several tables: expected {_either([f'{t}.{first}' for t in tables])}")
        else:
            self._use(node, tables[0], first, names[1:])

    def _use(self, node: dict[str, Any], table: str, column: str, rest: list[str]) -> None:
        if column not in _columns(table):
            known = [f"{table}.{c}" for c in _columns(table)]
            hint = nearest(f"{table}.{column}", known)
            self._say(f"table {table} has no column {column!r}{hint}; there are: {', '.join(_columns(table))}")
            return
        node["column_names"] = [table, column, *rest]
        self.columns.setdefault(table, set()).add(column)


def _is_one_expression(nodes: list[dict[str, Any]]) -> bool:
    if len(nodes) != 1 or nodes[0]["type"] != "SELECT_NODE" or len(nodes[0]["select_list"]) != 1:
        return False
    node = nodes[0]
    extras = ("where_clause", "group_expressions", "having", "qualify", "sample", "modifiers")
    return node["from_table"]["type"] == "EMPTY" and not any(node.get(name) for name in extras)


def _parameters(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield str(node["column_names"][0])
        for value in node.values():
            yield from _parameters(value)
    elif isinstance(node, list):
        for value in node:
            yield from _parameters(value)


def _columns(table: str) -> list[str]:
    return [name for name in TABLES[table].arrow_schema.names if name not in _HIDDEN]


def _tables_with(column: str) -> list[str]:
    return [name for name in TABLES if column in _columns(name)]


def _all_names() -> list[str]:
    return sorted({column for table in TABLES for column in _columns(table)})


def _either(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _joined(table: schemas.Table, source: str, frames: str) -> str:
    if table is schemas.STREAMS:
        return f"LEFT JOIN (SELECT * FROM {source}) AS {table.name} ON {table.name}.stream_id = frames.stream_id"
    if table.of_intervals:
        # The last interval that began by the frame is the one that holds it, unless that has ended before.
        source = (
            f"SELECT i.*, f.frame_idx FROM (SELECT * FROM {frames}) AS f ASOF JOIN (SELECT * FROM {source}) AS i "
            "ON f.stream_id = i.stream_id AND f.frame_idx >= i.start_idx WHERE f.frame_idx <= i.end_idx"
        )
    else:
        source = f"SELECT * FROM {source}"
    same = f"{table.name}.stream_id = frames.stream_id AND {table.name}.frame_idx = frames.frame_idx"
    return f"LEFT JOIN ({source}) AS {table.name} ON {same}"


_NOTHING_KNOWN = {"stream_id": "s", "frame_idx": 0, "start_idx": 0, "end_idx": 0}


def _check_type(connection: Any, rule: Rule) -> None:
    """Raise `RuleError` where DuckDB does not take the rule, or it says something else than yes or no."""
    import duckdb

    for name in {*rule.columns, "frames"}:
        wanted = relation(TABLES[name], rule.columns.get(name, ()))
        # One frame of which nothing is known: what cannot be computed of any is found out now.
        row = {column: _NOTHING_KNOWN.get(column) for column in wanted}
        types = [(column, TABLES[name].arrow_schema.field(column).type) for column in wanted]
        connection.register(name, pa.Table.from_pylist([row], pa.schema(types)))
    try:
        (found,) = connection.execute(f"DESCRIBE {rule.answer()}").fetchall()
        if found[1] == "BOOLEAN":
            connection.execute(rule.query()).fetchall()
    except duckdb.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RuleError([lines[0].replace("Binder Error: ", "")]) from error
    if found[1] != "BOOLEAN":
        raise RuleError([f"it gives {found[1]}, expected a condition that holds or does not, {_EXAMPLE}"])
