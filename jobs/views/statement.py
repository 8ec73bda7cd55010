"""Check of SQL statements of users: refused unless they only read, and the tables that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.core.errors import UserError

if TYPE_CHECKING:
    import duckdb

_OPEN_PIVOT = "expected a PIVOT to name its values, as in PIVOT frames ON status IN ('ok', 'corrupt') USING count(*)"
_WITHOUT_BRACKETS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_LONGEST_QUERY = 100_000
_ALL_COLUMNS = frozenset({"STAR", "POSITIONAL_REFERENCE", "PIVOT", "SHOW_REF"})
"""What reads columns of a relation that it does not name."""
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})


class NamesRead(NamedTuple):
    """What a query names, in lower case; None where that is not known.

    `tables` are without their schema, and without those that common table expressions hide. `columns` are all names
    that may be those of columns, of any table.
    """

    tables: frozenset[str] | None
    columns: frozenset[str] | None


def checked_names(connection: duckdb.DuckDBPyConnection, query: str) -> NamesRead:
    """Return the tables and columns that a query reads.

    Raises `UserError` for what is not one SELECT, and for
    table functions, of which some read files.

    >>> import duckdb
    >>> with duckdb.connect(":memory:") as connection:
    ...     query = 'WITH a AS (FROM "Frames" SELECT Uri, x) SELECT a.uri FROM a JOIN quality_all USING (x)'
    ...     found = checked_names(connection, query)
    ...     sorted(found.tables), sorted(found.columns), checked_names(connection, "FROM frames").columns
    (['frames', 'quality_all'], ['uri', 'x'], None)
    """
    import duckdb

    _check_length("SQL", query, _LONGEST_QUERY)
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise UserError(f"SQL: expected one statement, found {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        if kind == "MULTI":
            raise UserError(f"SQL: {_OPEN_PIVOT}")
        raise UserError(f"SQL: only SELECT is allowed, found {kind}; tables are changed by runs alone")
    try:
        tree = _parsed(connection, query)
        for name in _table_functions(tree):
            if name not in _TABLE_FUNCTIONS:
                raise UserError(
                    f"SQL: the table function {name}() is not allowed; only the workspace's tables can be read"
                )
        if tree.get("error", True):
            return NamesRead(None, None)
        return NamesRead(frozenset(_tables(tree, frozenset())), _column_names(tree))
    except RecursionError as error:
        raise UserError("SQL: it is nested too deeply") from error


def check_condition(condition: str) -> None:
    """Raise `UserError` unless a text is one SQL expression that says the same of the same rows every time.

    It cannot get out of the brackets that it is put into. Functions such as `random()` and `now()`, and samples in
    subqueries, are refused, since the same condition has to select the same frames when it is repeated.
    """
    # Takes as long to import as all else that a query needs, and few queries come with a condition.
    import duckdb

    from conf.rules import MOST_LETTERS, stability

    if not condition.strip():
        raise UserError("the condition is empty; expected SQL on the columns of `curated` (is a variable not set?)")
    _check_length("the condition", condition, MOST_LETTERS)
    try:
        with duckdb.connect(":memory:") as connection:
            tree = _parsed(connection, f"SELECT {condition}")
        nodes = [s["node"] for s in tree.get("statements", ())]
        plain = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and len(nodes[0]["select_list"]) == 1
        if tree.get("error") or not plain or nodes[0]["from_table"]["type"] != "EMPTY" or nodes[0]["where_clause"]:
            raise UserError(f"condition {condition!r}: expected one SQL expression on the columns of `curated`")
        changing = [name for name in _functions(nodes) if stability().get(name) == "changing"]
        if changing:
            raise UserError(
                f"condition {condition!r}: {changing[0]}() gives another answer every time, or does more than answer; "
                "the same condition has to select the same frames when it is repeated"
            )
        if _has_sample(nodes):
            raise UserError(f"condition {condition!r}: a sample differs every time; select frames with `winnow select`")
    except RecursionError as error:
        raise UserError("the condition is nested too deeply") from error


def columns_of(condition: str) -> frozenset[str] | None:
    """Return the columns that a condition reads, in lower case; None where it reads more than columns of its own row.

    >>> sorted(columns_of("curated.Sharpness > 2 * luma_mean OR list_contains(reasons, 'dark')"))
    ['luma_mean', 'reasons', 'sharpness']
    >>> columns_of("frame_idx IN (SELECT frame_idx FROM annotations)") is None
    True
    """
    import duckdb

    with duckdb.connect(":memory:") as connection:
        found = list(_columns(_parsed(connection, f"SELECT {condition}")["statements"][0]["node"]["select_list"]))
    return None if None in found else frozenset(str(name) for name in found)


def _columns(node: Any) -> Iterator[str | None]:
    """Yield the columns in a part of the syntax tree, and None for anything that depends on more than them."""
    if isinstance(node, list):
        for value in node:
            yield from _columns(value)
    if not isinstance(node, dict):
        return
    if node.get("class") in ("SUBQUERY", "STAR", "POSITIONAL_REFERENCE", "WINDOW", "LAMBDA", "PARAMETER"):
        yield None
    if node.get("class") == "COLUMN_REF":
        *before, name = (str(part).lower() for part in node["column_names"])
        yield name if before in ([], ["curated"]) else None
    for value in node.values():
        yield from _columns(value)


def _column_names(tree: Any) -> frozenset[str] | None:
    """Return all names in a syntax tree that may be those of columns; None where columns are read without a name."""
    relations = {
        str(node[key]).lower()
        for node in _nodes(tree)
        if node.get("type") in ("BASE_TABLE", "SUBQUERY")
        for key in ("table_name", "alias")
        if node.get(key)
    }
    found: set[str] = set()
    for node in _nodes(tree):
        unnamed = node.get("class") in _ALL_COLUMNS or node.get("type") in _ALL_COLUMNS
        if unnamed or node.get("ref_type") == "NATURAL" or node.get("column_name_alias"):
            return None
        names = [str(name).lower() for name in node.get("using_columns") or ()]
        if node.get("class") == "COLUMN_REF":
            names += [str(name).lower() for name in node["column_names"]]
            if names[-1] in relations:
                # A row as a whole.
                return None
            names = [name for name in names if name not in relations]
        found.update(names)
    return frozenset(found)


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in a part of the syntax tree."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(value)


def _check_length(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise UserError(f"{what}: expected at most {most:,} characters, found {len(text):,}")


def _functions(node: Any) -> Iterator[str]:
    """Yield the functions that a part of the syntax tree calls, operators and those without brackets among them."""
    if isinstance(node, dict):
        if node.get("class") == "FUNCTION":
            yield str(node["function_name"]).lower()
        if node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1:
            name = str(node["column_names"][0]).lower()
            yield from [name] if name in _WITHOUT_BRACKETS else []
        for value in node.values():
            yield from _functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _functions(value)


def _has_sample(node: Any) -> bool:
    if isinstance(node, dict):
        return bool(node.get("sample")) or any(_has_sample(value) for value in node.values())
    return isinstance(node, list) and any(_has_sample(value) for value in node)


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
