"""Which rows the plain table names show, where rules chose them."""

from __future__ import annotations

import duckdb
import pyarrow as pa

import schemas
from jobs.views.row_filter_sql import RowFilter
from jobs.views.snapshot_spec import Selection

N = 6
STREAMS = ("a", "b", "c")


def shown(selection: Selection, table: schemas.Table) -> dict[str, list[int]]:
    """Return the frames that a table shows of each stream, where every table has a row for every one of six."""
    keys = [
        {"stream_id": s, "frame_idx": n, "stage_key": key} for s in STREAMS for n in range(N) for key in ("k", "old")
    ]
    tables = {
        "frames": [{"stream_id": s, "frame_idx": n} for s in STREAMS for n in range(N)],
        "quality": [{"stream_id": s, "frame_idx": n, "luma_mean": 10.0 * n} for s in STREAMS for n in range(N)],
        "annotated_all": [row | {"n_objects": row["frame_idx"] % 2} for row in keys],
        "embeddings_all": [row | {"model": "m"} for row in keys],
    }
    with duckdb.connect(":memory:") as connection:
        for name, rows in tables.items():
            connection.register(name, pa.Table.from_pylist(rows))
        row_filter = RowFilter(selection)
        connection.register("selected_keys", row_filter.selected_keys())
        found = connection.execute(row_filter.statement(table)).fetchall()
    assert all(row[2] == "k" for row in found)
    return {s: sorted(row[1] for row in found if row[0] == s) for s in STREAMS}


def selected(rules: dict[str, dict[str, str]]) -> Selection:
    keys = {stage: dict.fromkeys(STREAMS, "k") for stage in ("annotate", "embeddings")}
    found = Selection({}, keys, rules)
    assert Selection.from_manifest(found.manifest()) == found
    return found


def test_every_stream_shows_what_its_own_rule_chose() -> None:
    rules = {"annotate": {"a": "(quality.luma_mean > 25)", "b": "(quality.luma_mean < 15)"}}
    found = shown(selected(rules), schemas.ANNOTATED)
    assert found == {"a": [3, 4, 5], "b": [0, 1], "c": list(range(N))}
    assert shown(selected(rules), schemas.EMBEDDINGS) == {s: list(range(N)) for s in STREAMS}


def test_a_rule_that_asks_another_model_sees_what_that_ones_rule_chose() -> None:
    rules = {
        "annotate": {"a": "(quality.luma_mean > 25)", "c": "(quality.luma_mean > 45)"},
        "embeddings": dict.fromkeys("abc", "(annotated.n_objects = 1)"),
    }
    assert shown(selected(rules), schemas.EMBEDDINGS) == {"a": [3, 5], "b": [1, 3, 5], "c": [5]}


def test_rules_of_two_streams_may_read_each_others_tables() -> None:
    rules = {
        "annotate": {"a": "(embeddings.model = 'm')", "b": "(quality.luma_mean > 35)"},
        "embeddings": {"a": "(quality.luma_mean < 25)", "b": "(annotated.n_objects = 1)"},
    }
    assert shown(selected(rules), schemas.ANNOTATED) == {"a": [0, 1, 2], "b": [4, 5], "c": list(range(N))}
    assert shown(selected(rules), schemas.EMBEDDINGS) == {"a": [0, 1, 2], "b": [5], "c": list(range(N))}
