from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import schemas
from jobs.core.errors import UserError
from jobs.engine.ray_engine import Engine
from jobs.storage.store import Snapshot, Store
from jobs.storage.workspace import Workspace
from jobs.views.snapshot_spec import Selection
from jobs.views.statement import check_condition
from jobs.views.view import View
from tests.helpers import SMALL, go, rows

N = SMALL.planted.n_files


@pytest.fixture(scope="module")
def two_runs(
    tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine
) -> tuple[Workspace, list[str]]:
    """A workspace with two runs of different thresholds over one stream."""
    workspace = Workspace.at(tmp_path_factory.mktemp("query") / "tables")
    first = go(workspace, sample_folder)
    second = go(workspace, sample_folder, settings=["curation.dark_mean=0", "curation.dark_p95=0"])
    return workspace, [first.job_id, second.job_id]


def scalar(view: View, query: str) -> object:
    return view.sql(query).column(0)[0].as_py()


DARK = "SELECT count(*) FROM curation WHERE list_contains(reasons, 'dark')"


def test_plain_names_show_the_head_and_all_shows_every_row(two_runs: tuple[Workspace, list[str]]) -> None:
    view = View.of(two_runs[0])
    assert scalar(view, DARK) == 0
    assert scalar(view, "SELECT count(*) FROM curation") == N
    assert scalar(view, "SELECT count(*) FROM curation_all") == 2 * N
    assert scalar(view, "SELECT count(DISTINCT stage_key) FROM curation_all") == 2


def test_a_run_is_read_as_it_ended(two_runs: tuple[Workspace, list[str]]) -> None:
    workspace, (first, second) = two_runs
    assert scalar(View.of(workspace, run=first), DARK) == 6
    assert scalar(View.of(workspace, run=second), DARK) == 0


def test_a_run_can_be_named_by_what_no_other_begins_with(two_runs: tuple[Workspace, list[str]]) -> None:
    workspace, (first, second) = two_runs
    assert scalar(View.of(workspace, run=first[:-1]), DARK) == 6
    common = first[:8]
    assert second.startswith(common)
    with pytest.raises(UserError, match="2 runs begin with"):
        View.of(workspace, run=common)
    with pytest.raises(UserError, match="there is no run 'zzz'"):
        View.of(workspace, run="zzz")


def test_curated_joins_all_that_is_known_of_a_frame(two_runs: tuple[Workspace, list[str]]) -> None:
    view = View.of(two_runs[0])
    found = pl.DataFrame(view.sql("SELECT * FROM curated ORDER BY stream_id, frame_idx"))
    lazy = view.lazy("curated").collect().sort("stream_id", "frame_idx")
    assert found.height == lazy.height == N
    assert set(found.columns) == set(lazy.columns)
    wanted = {"content_hash", "laplacian_var", "phash", "motion_peak", "group_id", "keep", "reasons", "uri", "status"}
    assert wanted <= set(found.columns)
    assert found.select(sorted(found.columns)).equals(lazy.select(sorted(lazy.columns)))


def test_every_table_can_be_queried(two_runs: tuple[Workspace, list[str]]) -> None:
    view = View.of(two_runs[0])
    for table in schemas.ALL:
        names = view.sql(f"SELECT * FROM {table.name} LIMIT 0").column_names
        assert names == table.arrow_schema.names
        assert view.sql(f"SELECT * FROM {table.name}_all LIMIT 0").column_names == names


def test_lists_and_joins_work(two_runs: tuple[Workspace, list[str]]) -> None:
    view = View.of(two_runs[0])
    query = "SELECT unnest(reasons) AS reason, count(*) AS n FROM curation GROUP BY 1 HAVING n = 2"
    assert view.sql(query).to_pylist() == [{"reason": "corrupt", "n": 2}]
    gaps = view.sql("SELECT g.start, g.end FROM (SELECT unnest(gaps) AS g FROM streams)").to_pylist()
    assert gaps == [{"start": a, "end": b} for a, b in SMALL.planted.gaps]
    assert (
        scalar(view, "SELECT count(*) FROM quality q JOIN idle i ON q.frame_idx BETWEEN i.start_idx AND i.end_idx")
        == 30
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("DROP TABLE frames", "only SELECT is allowed, found DROP"),
        ("CREATE TABLE t AS SELECT 1", "only SELECT is allowed, found CREATE"),
        ("INSERT INTO runs VALUES (1)", "only SELECT is allowed, found INSERT"),
        ("COPY (SELECT 1) TO 'winnow-test.csv'", "only SELECT is allowed, found COPY"),
        ("ATTACH 'x.db'", "only SELECT is allowed, found ATTACH"),
        ("PRAGMA version", "only SELECT is allowed, found PRAGMA"),
        ("SET enable_external_access = true", "only SELECT is allowed, found SET"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2"),
        ("", "expected one statement, found 0"),
        ("SELECT * FROM read_text('/etc/passwd')", "read_text() is not allowed"),
        ("SELECT * FROM glob('/etc/*')", "glob() is not allowed"),
        ("SELECT * FROM duckdb_settings()", "duckdb_settings() is not allowed"),
        ("SELECT (SELECT count(*) FROM read_csv('/etc/passwd'))", "read_csv() is not allowed"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd is no table, and files are not read"),
        ("PIVOT frames ON status USING count(*)", "expected a PIVOT to name its values"),
        ("SELECT * FROM 'frames.parquet'", "only the workspace's tables can be read"),
        ("SELECT * FROM framez", "framez does not exist"),
        ("SELECT contnt_hash FROM frames", "contnt_hash"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_statements_that_do_more_than_read_tables_are_refused(
    two_runs: tuple[Workspace, list[str]], query: str, reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        View.of(two_runs[0]).sql(query)
    assert reason in caught.value.problems[0]
    assert len(caught.value.problems) == 1


def test_python_variables_are_no_tables(two_runs: tuple[Workspace, list[str]]) -> None:
    secret = pl.DataFrame({"x": [1]})
    with pytest.raises(UserError):
        View.of(two_runs[0]).sql("SELECT * FROM secret")
    assert secret.height == 1


def test_unknown_tables_of_the_python_interface(two_runs: tuple[Workspace, list[str]]) -> None:
    with pytest.raises(UserError, match="there is no table 'framez'"):
        View.of(two_runs[0]).lazy("framez")


def test_streams_of_other_runs_are_not_shown_for_a_run(
    two_runs: tuple[Workspace, list[str]], tmp_path: Path, engine: Engine
) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    from tests.helpers import write_noise_stream

    first = go(workspace, write_noise_stream(tmp_path / "a", range(3)))
    go(workspace, write_noise_stream(tmp_path / "b", range(10, 14)))
    assert rows(workspace, schemas.FRAMES)["stream_id"].to_list() == ["a"] * 3 + ["b"] * 4
    found = View.of(workspace, run=first.job_id).lazy("frames").collect()
    assert found["stream_id"].to_list() == ["a"] * 3


def test_columns_of_one_name_are_distinguished(two_runs: tuple[Workspace, list[str]]) -> None:
    columns = "f.stage_key, q.stage_key, sum(f.frame_idx) AS total"
    query = f"SELECT {columns} FROM frames f JOIN quality q USING (frame_idx) GROUP BY 1, 2"
    found = View.of(two_runs[0]).sql(query)
    assert found.column_names == ["stage_key", "stage_key_2", "total"]
    assert found.schema.field("total").type == pa.int64()


def test_the_journal_is_a_table(two_runs: tuple[Workspace, list[str]]) -> None:
    workspace, (first, second) = two_runs
    view = View.of(workspace)
    assert scalar(view, f"SELECT sum(frames) FROM journal WHERE event = 'block_done' AND job_id = '{first}'") == N
    stages = view.sql("SELECT DISTINCT stage FROM journal WHERE event = 'block_done'")
    assert stages["stage"].to_pylist() == ["measure"]
    assert scalar(view, f"SELECT count(*) FROM journal WHERE event = 'block_done' AND job_id = '{second}'") == 0
    # Frames in are rows out, stage by stage; and what was committed is what the table has.
    tally = view.sql("SELECT stage, sum(rows) FROM journal WHERE event = 'committed' GROUP BY 1 ORDER BY 1")
    assert dict(zip(*(c.to_pylist() for c in tally.columns), strict=True))["frames"] == N
    done = view.sql(f"SELECT stage, frames, rows, data FROM journal WHERE event = 'stage_done' AND job_id = '{second}'")
    assert set(done["rows"].to_pylist()) == {0, N}  # only curation was computed
    ends = view.lazy("journal").filter(pl.col("event") == "run_done").collect()
    assert ends["job_id"].to_list() == [first, second]
    assert ends.select(pl.col("seconds") > 0).to_series().all()


def test_a_journal_of_one_run_is_ordered_as_it_happened(two_runs: tuple[Workspace, list[str]]) -> None:
    workspace, (first, _) = two_runs
    found = View.of(workspace).lazy("journal").filter(pl.col("job_id") == first).collect()
    names = found["event"].to_list()
    assert names[0] == "run_started"
    assert names[-1] == "run_done"
    assert set(names) == {"run_started", "stage_started", "block_done", "committed", "stage_done", "run_done"}
    schema = schemas.JOURNAL.arrow_schema
    assert found.columns == schema.names


def test_a_result_is_given_piece_by_piece_however_large_it_is(workspace: Workspace) -> None:
    view = View(Store(workspace.root), Selection(None, {}))
    with view.stream("SELECT range AS n, sum(range) OVER () AS total FROM range(10)", size=4) as tables:
        pieces = list(tables)
    assert [piece.num_rows for piece in pieces] == [4, 4, 2]
    assert {piece.schema.field("total").type for piece in pieces} == {pa.int64()}
    with view.stream("SELECT 1 AS n WHERE false") as tables:
        assert [piece.num_rows for piece in tables] == [0]
    # Two thirds of a petabyte, of which three rows are requested.
    with view.stream("SELECT range AS n FROM range(100_000_000_000_000)", size=3) as tables:
        assert next(tables)["n"].to_pylist() == [0, 1, 2]
    with (
        pytest.raises(UserError, match=r"CAST\(sum"),
        view.stream("SELECT 1::HUGEINT << (range * 25)::HUGEINT AS n FROM range(4)", size=2) as tables,
    ):
        list(tables)
    with pytest.raises(UserError, match="SQL: "), view.stream("SELECT nosuch") as tables:
        list(tables)


def test_an_empty_condition_is_not_taken_for_none() -> None:
    with pytest.raises(UserError, match="the condition is empty; expected SQL on the columns of `curated`"):
        check_condition(" ")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tables that a store has opened, in order."""
    names: list[str] = []
    open_ = Store.open

    def noted(store: Store, table: schemas.Table) -> Snapshot:
        names.append(table.name)
        return open_(store, table)

    monkeypatch.setattr(Store, "open", noted)
    return names


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT 1", set()),
        ('SELECT count(*) FROM "Frames"', {"frames"}),
        ("SELECT count(*) FROM streams_all JOIN quality_all USING (stream_id)", {"streams", "quality"}),
        ("WITH frames AS (SELECT 1) SELECT * FROM frames", set()),
        ("WITH frames AS (FROM frames) FROM frames", {"frames"}),
        ("SELECT (SELECT count(*) FROM idle) FROM (FROM scenes)", {"idle", "scenes"}),
        ("SELECT count(*) FROM annotations", {"annotations", "frames", "imports"}),
        ("SELECT count(*) FROM reviewed_frames", {"frames", "imports", "reviews"}),
        ("SHOW TABLES", set()),
        ("DESCRIBE quality", {"quality"}),
    ],
)
def test_only_the_tables_that_a_statement_reads_are_opened(
    workspace: Workspace, opened: list[str], query: str, tables: set[str]
) -> None:
    view = View(Store(workspace.root), Selection(None, {}))
    view.sql(query)
    assert set(opened) == tables


def test_all_names_are_listed_and_similar_ones_proposed(workspace: Workspace) -> None:
    view = View(Store(workspace.root), Selection(None, {}))
    listed = set(view.sql("SHOW TABLES")["name"].to_pylist())
    assert {*schemas.BY_NAME, "quality_all", "curated", "objects", "journal"} <= listed
    assert listed == set(view.sql("SELECT table_name FROM information_schema.tables")["table_name"].to_pylist())
    with pytest.raises(UserError, match=r'curatedd does not exist! Did you mean "curated"'):
        view.sql("SELECT * FROM curatedd")


@pytest.mark.parametrize("name", ["annotations", "curated", "objects", "objects_by_models", "reviewed_frames"])
def test_views_have_the_same_columns_in_sql_and_in_polars(workspace: Workspace, name: str) -> None:
    view = View(Store(workspace.root), Selection(None, {}))
    assert pl.DataFrame(view.sql(f"SELECT * FROM {name}")).schema == view.lazy(name).collect_schema()


@pytest.mark.parametrize("name", ["frames", "curated", "quality", "curation", "objects", "idle"])
@pytest.mark.parametrize("run", [0, 1])
def test_a_view_of_some_frames_has_the_rows_of_these_alone(
    two_runs: tuple[Workspace, list[str]], name: str, run: int
) -> None:
    """Tables that are not by frame stay as they are, and one frame of several with its number is not the others'."""
    workspace, jobs = two_runs
    view = View.of(workspace, run=jobs[run])
    every = view.lazy("frames").select(schemas.FRAME_KEY).collect().sort(schemas.FRAME_KEY)
    some = pl.concat(
        [every[::7], pl.DataFrame({"stream_id": ["elsewhere"], "frame_idx": [int(every["frame_idx"][1])]})]
    )
    expected = view.lazy(name).collect()
    if "frame_idx" in expected.columns:
        expected = expected.join(some, on=schemas.FRAME_KEY, how="semi")
        assert expected.height == every[::7].height or name == "objects"
    found = view.of_frames(some).lazy(name).collect()
    assert_frame_equal(found, expected, check_row_order=False)
    assert view.lazy("frames").collect().height == every.height


def test_sql_over_a_view_of_some_frames_sees_these_alone(two_runs: tuple[Workspace, list[str]]) -> None:
    """Also a view that joins tables, and one of no frames at all."""
    view = View.of(two_runs[0])
    some = view.lazy("frames").select(schemas.FRAME_KEY).collect()[:5]
    assert scalar(view.of_frames(some), "SELECT count(*) FROM curated") == 5
    assert scalar(view.of_frames(some[:0]), "SELECT count(*) FROM curated") == 0
