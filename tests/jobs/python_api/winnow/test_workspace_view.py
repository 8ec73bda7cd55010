"""What a view shows: the current tables, or those that a run or a release recorded."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import winnow
from tests.helpers import write_noise_stream

pytestmark = pytest.mark.process

FEW = {"stages": ["frames", "quality", "curation"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of four frames, a release of it, and a run of two frames more; to be read only."""
    folder = tmp_path_factory.mktemp("views")
    write_noise_stream(folder / "cam", range(4))
    winnow.run(folder / "cam", folder / "tables", settings=FEW)
    winnow.open(folder / "tables").create_release("first", note="four frames")
    write_noise_stream(folder / "cam", range(4, 6), start=4)
    winnow.run([str(folder / "cam")], str(folder / "tables"), settings=FEW)
    return folder / "tables"


def n_frames(view: winnow.WorkspaceView) -> int:
    return view.table("curated").select(pl.len()).collect().item()


def test_runs_and_releases_stay_as_they_were(place: Path) -> None:
    workspace = winnow.open(place)
    first, last = workspace.runs["job_id"]
    assert n_frames(workspace) == n_frames(workspace.run("last")) == n_frames(workspace.run(last)) == 6
    assert (
        n_frames(workspace.run(first)) == n_frames(workspace.run("last~1")) == n_frames(workspace.release("first")) == 4
    )
    assert repr(workspace) == f"WorkspaceView({str(place)!r})"
    assert repr(workspace.run("last")) == f"WorkspaceView({str(place)!r}, run={last!r})"


def test_an_open_workspace_shows_what_came_since(tmp_path: Path) -> None:
    write_noise_stream(tmp_path / "cam", range(2))
    winnow.run(tmp_path / "cam", tmp_path / "tables", settings=FEW)
    workspace = winnow.open(tmp_path / "tables")
    recorded = workspace.run("last")
    assert n_frames(workspace) == 2
    write_noise_stream(tmp_path / "cam", range(2, 3), start=2)
    winnow.run(tmp_path / "cam", tmp_path / "tables", settings=FEW)
    assert (n_frames(workspace), n_frames(recorded)) == (3, 2)


def test_runs_and_releases_are_listed(place: Path) -> None:
    workspace = winnow.open(place)
    assert workspace.runs.select("state", "frames", "streams").rows() == [("done", 4, ["cam"]), ("done", 6, ["cam"])]
    assert workspace.runs.schema["started"] == workspace.releases.schema["created"] == pl.Datetime("ns", "UTC")
    assert workspace.runs["started"].is_sorted()
    assert workspace.releases.select("name", "note").rows() == [("first", "four frames")]


def test_every_table_that_is_named_can_be_read(place: Path) -> None:
    workspace = winnow.open(place)
    for name in workspace.tables:
        columns = workspace.table(name).collect_schema().names()
        assert set(workspace.sql(f"SELECT * FROM {name} LIMIT 0").columns) <= set(columns), name


def test_an_export_is_of_what_the_view_shows(place: Path, tmp_path: Path) -> None:
    manifest = winnow.open(place).release("first").export(tmp_path / "out", "jsonl", everything=True)
    assert manifest["frames"] == {"default": 4}
    assert (tmp_path / "out/frames_default.jsonl").read_text().count("\n") == 4


def test_impossible_requests_to_a_view_are_refused(place: Path, tmp_path: Path) -> None:
    workspace = winnow.open(place)
    with pytest.raises(winnow.UserError, match="there is no workspace at"):
        winnow.open(tmp_path / "nowhere")
    with pytest.raises(winnow.UserError, match="there is no release 'second'; there are: first"):
        workspace.release("second")
    with pytest.raises(winnow.UserError, match="there is no run 'x'"):
        workspace.run("x")
    with pytest.raises(winnow.UserError, match="expected the current tables or those of a run"):
        workspace.release("first").create_release("second")
    with pytest.raises(winnow.UserError, match="only SELECT is allowed"):
        workspace.sql("DROP TABLE frames")
    with pytest.raises(winnow.UserError, match="Polars cannot hold the result, x month_day_nano_interval"):
        workspace.sql("SELECT INTERVAL 1 DAY AS x")
