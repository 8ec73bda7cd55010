"""Check of SQL statements of users: refused unless they only read, and the tables that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from jobs.core.errors import UserError

_OPEN_PIVOT = "expected a PIVOT to name its values, as in PIVOT frames ON status IN ('ok', 'corrupt') USING count(*)"
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})


def checked_table_names(connection: duckdb.DuckDBPyConnection, query: str) -> frozenset[str] | None:
    """Return the tables that a query reads, in lower case and without their schema; None where that is not known.

    Names that common table expressions hide are not among them. Raises `UserError` for what is not one SELECT, and for
    table functions, of which some read files.

    >>> with duckdb.connect(":memory:") as connection:
    ...     query = 'WITH a AS (FROM "Frames") SELECT * FROM a JOIN quality_all USING (x)'
    ...     query = 'WITH a AS (FROM "Frames") SELECT * FROM a JOIN quality_all USING (x)'
    ...     sorted(checked_table_names(connection, query))
    ['frames', 'quality_all']
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise UserError(f"SQL: expected one statement, found {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        if kind == "MULTI":
            raise UserError(f"SQL: {_OPEN_PIVOT}")
        raise UserError(f"SQL: only SELECT is allowed, found {kind}; tables are changed by runs alone")
    tree = _parsed(connection, query)
    for name in _table_functions(tree):
        if name not in _TABLE_FUNCTIONS:
            raise UserError(f"SQL: the table function {name}() is not allowed; only the workspace's tables can be read")
    return None if tree.get("error", True) else frozenset(_tables(tree, frozenset()))


def check_condition(condition: str) -> None:
    """Raise `UserError` unless a text is one SQL expression, which cannot get out of the brackets it is put into."""
    if not condition.strip():
        raise UserError("the condition is empty; expected SQL on the columns of `curated` (is a variable not set?)")
    with duckdb.connect(":memory:") as connection:
        tree = _parsed(connection, f"SELECT {condition}")
    nodes = [s["node"] for s in tree.get("statements", ())]
    plain = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and len(nodes[0]["select_list"]) == 1
    if tree.get("error") or not plain or nodes[0]["from_table"]["type"] != "EMPTY" or nodes[0]["where_clause"]:
        raise UserError(f"condition {condition!r}: expected one SQL expression on the columns of `curated`")


def _parsed(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Return the syntax tree that DuckDB makes of a SELECT; `error` is true in it where that failed."""
    ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    return dict(json.loads(text))


def _table_functions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield str(node["function"]["function_name"]).lower()
        for value in node.values():
            yield from _table_functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _table_functions(value)


def _tables(node: Any, hidden: frozenset[str]) -> Iterator[str]:
    """Yield the tables that a part of the syntax tree reads; `hidden` are names of common table expressions."""
    if isinstance(node, list):
        for value in node:
            yield from _tables(value, hidden)
    if not isinstance(node, dict):
        return
    # An expression sees those before it, and only a recursive one sees itself.
    for entry in (node.get("cte_map") or {}).get("map", ()):
        yield from _tables(entry["value"], hidden)
        hidden |= {str(entry["key"]).lower()}
    if node.get("type") == "RECURSIVE_CTE_NODE":
        hidden |= {str(node["cte_name"]).lower()}
    if node.get("type") in ("BASE_TABLE", "SHOW_REF") and node.get("table_name"):
        name = str(node["table_name"]).strip('"').lower()
        if name not in hidden or node.get("schema_name"):
            yield name
    for key, value in node.items():
        if key != "cte_map":
            yield from _tables(value, hidden)
