from __future__ import annotations

import pytest

from jobs.core.errors import UserError
from jobs.views.curated_view import sources
from jobs.views.statement import columns_of
from jobs.web.frame_conditions import fulfilled
from jobs.web.project_data import Shown
from tests.jobs.web.material import Server

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def shown(server: Server) -> Shown:
    app = server.client.app
    found: Shown = app.state.data.of(server.project).shown()  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    "condition",
    [
        "sharpness > 0.4",
        "CURATED.Luma_Mean > 120 and motion_peak is null",
        "keep",
        "NOT keep",
        "keep IS NULL OR list_contains(reasons, 'dark')",
        "len(reasons) = 0 AND len(flags) >= 0",
        "width = 1280 AND height < 1000 OR width / 2 = 320",
        "t_ns IS NULL",
        "hour(make_timestamp_ns(t_ns)) = 10",
        "stream_id LIKE 'c%' AND frame_idx % 3 = 0",
        "stream_id IN ('sparse', 'drive.mp4')",
        "uri LIKE '%1.jpg' AND status = 'ok'",
        "is_representative AND hamming = 0",
        "hamming > 0 OR phash IS NULL",
        "coalesce(sharpness, -1) < 0 -- nothing",
        "len(list_filter(reasons, lambda r: r <> 'idle')) > 0",
        "frame_idx IN (SELECT frame_idx FROM annotations)",
        "frame_idx = (SELECT max(c.frame_idx) FROM curated c WHERE c.stream_id = curated.stream_id)",
        "true",
    ],
)
def test_a_condition_chooses_what_sql_on_the_view_chooses(shown: Shown, condition: str) -> None:
    rows = shown.view.sql(f"SELECT stream_id, frame_idx FROM curated WHERE ({condition}\n)").to_pylist()
    expected = {(row["stream_id"], row["frame_idx"]) for row in rows}
    assert expected
    keys = shown.frames.keys
    assert {keys.frame(row) for row in fulfilled(shown, condition).nonzero()[0].tolist()} == expected


@pytest.mark.parametrize("name", sorted(sources()))
def test_each_column_of_the_view_can_be_in_a_condition(shown: Shown, name: str) -> None:
    expected = shown.view.sql(f"SELECT count(*) AS n FROM curated WHERE {name} IS NOT NULL")["n"][0].as_py()
    assert fulfilled(shown, f"{name} IS NOT NULL").sum() == expected


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("sharpness >", "expected one SQL expression"),
        ("sharpness > 'soft'", "SQL: Conversion Error"),
        ("sharpnes > 1", "sharpness"),
        ("read_csv('/etc/passwd') IS NULL", "SQL"),
    ],
)
def test_what_is_no_condition_is_one_line(shown: Shown, condition: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        fulfilled(shown, condition)


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("A + curated.b > c[1]", {"a", "b", "c"}),
        ("1 = 1", set()),
        ("x.y > 1", None),
        ("EXISTS (SELECT 1)", None),
        ("row_number() OVER () > 3", None),
    ],
)
def test_the_columns_of_a_condition_are_known_where_it_reads_its_own_row_alone(
    condition: str, columns: set[str] | None
) -> None:
    assert columns_of(condition) == columns
