"""Which tables a statement reads, compared with what DuckDB itself finds when it binds the statement."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from jobs.core.errors import UserError
from jobs.views.statement import check_condition, checked_names


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        for name in ("frames", "quality", "curation"):
            opened.execute(f"CREATE TABLE {name} (x INT, frame_idx INT, status VARCHAR)")
        yield opened


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "FROM main.frames",
        'SELECT * FROM memory.main."Frames"',
        "SELECT frames FROM frames",
        "TABLE frames",
        "SUMMARIZE frames",
        "SELECT * FROM (DESCRIBE frames)",
        "SELECT * FROM (VALUES (1)) t",
        "PIVOT frames ON status IN ('ok') USING count(*)",
        "FROM frames TABLESAMPLE 10%",
        "SELECT * FROM frames POSITIONAL JOIN quality",
        "SELECT * FROM frames SEMI JOIN curation ON frames.x = curation.x",
        "SELECT * FROM frames, LATERAL (SELECT * FROM quality WHERE quality.x = frames.x)",
        "SELECT x IN (FROM quality SELECT x) FROM curation",
        "SELECT x FROM frames ORDER BY (SELECT max(x) FROM quality) LIMIT (SELECT 1 FROM curation)",
        "SELECT sum(x) OVER (ORDER BY (SELECT 1 FROM quality)) FROM frames",
        "SELECT list_transform([1], lambda y: y + (SELECT max(x) FROM quality))",
        "WITH frames AS (SELECT 1) SELECT * FROM FRAMES",
        "WITH frames AS (SELECT * FROM frames) SELECT * FROM frames",
        "WITH a AS MATERIALIZED (FROM frames) FROM a",
        "WITH RECURSIVE frames AS (SELECT 1 AS x UNION SELECT x FROM frames WHERE x < 3) SELECT * FROM frames",
        "SELECT x FROM frames UNION (WITH frames AS (SELECT 3 AS x) FROM frames)",
        "SELECT * FROM (WITH quality AS (SELECT 1 AS x) FROM quality), quality",
    ],
)
def test_names_are_those_that_the_database_binds(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    found = set(checked_names(connection, query).tables or ())
    assert found == {name.lower() for name in connection.get_table_names(query)}


def test_names_are_found_though_the_tables_are_not_there(connection: duckdb.DuckDBPyConnection) -> None:
    query = 'WITH a AS (FROM "Masks") SELECT * FROM a JOIN tracks_all USING (annotation_id)'
    assert checked_names(connection, query).tables == frozenset({"masks", "tracks_all"})
    assert checked_names(connection, "SHOW idle").tables == frozenset({"idle"})


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("SELECT count(*) FROM curated", set()),
        ("SELECT Status, count(*) FROM curated WHERE keep GROUP BY 1 ORDER BY 2", {"status", "keep"}),
        ("SELECT c.uri, gaps.start FROM curated c JOIN a USING (b)", {"uri", "gaps", "start", "b"}),
        ("SELECT list_transform(reasons, x -> x || status) FROM curated", {"reasons", "x", "status"}),
        ("SELECT count(*) FROM (SELECT keep FROM curated) q", {"keep"}),
        ("SELECT frame_idx FROM a SEMI JOIN curated ON a.i = curated.frame_idx", {"frame_idx", "i"}),
        # What follows reads columns that it does not name.
        ("FROM curated", None),
        ("SELECT * EXCLUDE uri FROM curated", None),
        ("SELECT COLUMNS('luma.*') FROM curated", None),
        ("SELECT count(c.*) FROM curated c", None),
        ("SELECT c FROM curated c", None),
        ("SELECT curated FROM curated", None),
        ("SELECT to_json(q) FROM (SELECT keep FROM curated) q", None),
        ("SELECT #2 FROM curated", None),
        ("SELECT a FROM curated AS c(a, b)", None),
        ("SELECT a FROM b NATURAL JOIN curated", None),
        ("PIVOT curated ON status IN ('ok') USING count(*)", None),
        ("DESCRIBE curated", None),
        ("SUMMARIZE curated", None),
        ("SELECT status FROM curated ORDER BY ALL", None),
    ],
)
def test_columns_are_those_that_are_named_unless_others_are_read(
    connection: duckdb.DuckDBPyConnection, query: str, columns: set[str] | None
) -> None:
    assert checked_names(connection, query).columns == columns


@pytest.mark.parametrize("query", ["SELECT 1; SELECT 2", "DROP TABLE frames", "FROM query_table('frames')"])
def test_tables_of_statements_that_do_more_than_read_are_refused(
    connection: duckdb.DuckDBPyConnection, query: str
) -> None:
    with pytest.raises(UserError, match="SQL: "):
        checked_names(connection, query)


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("random() > 0.5", r"random\(\) gives another answer"),
        ("mtime_ns > epoch_ns(now())", r"now\(\)"),
        ("CURRENT_DATE > DATE '2020-01-01'", r"current_date\(\)"),
        ("age(TIMESTAMP '2020-01-01') > INTERVAL 1 DAY", r"age\(\)"),
        ("pg_sleep(1) IS NULL", r"pg_sleep\(\)"),
        ("frame_idx IN (SELECT frame_idx FROM frames USING SAMPLE 3)", "a sample differs"),
        ("frame_idx IN (SELECT frame_idx FROM frames TABLESAMPLE 10%)", "a sample differs"),
        ("CASE WHEN keep THEN " * 400 + "true" + " END" * 400, "nested too deeply"),
        (f"'{'x' * 20_000}' = 'x'", "at most 20,000 characters"),
    ],
)
def test_conditions_have_to_say_the_same_every_time(condition: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        check_condition(condition)


def test_conditions_may_use_what_is_stable() -> None:
    for condition in ("keep AND x IN (SELECT x FROM frames)", "len(list_filter(reasons, r -> r = 'dark')) > 0"):
        check_condition(condition)


def test_statements_that_are_too_deep_or_too_long_are_refused(connection: duckdb.DuckDBPyConnection) -> None:
    for query in ("SELECT * FROM (" * 400 + "SELECT 1" + ")" * 400, f"SELECT '{'x' * 100_000}'"):
        with pytest.raises(UserError, match=r"nested too deeply|at most 100,000"):
            checked_names(connection, query)
