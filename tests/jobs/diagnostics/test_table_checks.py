from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import schemas
from jobs.core.errors import BrokenTableError, UserError
from jobs.datasets import release
from jobs.diagnostics import table_checks
from jobs.diagnostics.doctor import examine
from jobs.diagnostics.finding import Finding
from jobs.dispatch import tasks
from jobs.dispatch.task_options import ReleaseOptions
from jobs.records.job_log import JobLog
from jobs.records.run_events import SilentListener
from jobs.storage.delta_log import log_entry
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, winnow


def broken(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "broken"]


def take_back(root: Path, table: schemas.Table, n: int = 1) -> int:
    """Delete the newest entries of a table's log, and return the version that is left."""
    newest = Store(place(root)).open(table).version
    for version in range(newest, newest - n, -1):
        (root / table.name / "_delta_log" / log_entry(place(root / table.name), version).name).unlink()
    return newest - n


def test_intact_tables_are_not_reported_as_lost(healthy: Path) -> None:
    assert [*table_checks.tables(Store(place(healthy))), *table_checks.jobs(place(healthy))] == []


@pytest.mark.parametrize("table", [schemas.DUPLICATES, schemas.IDLE, schemas.HEADS, schemas.LISTING])
def test_a_missing_table_is_reported_with_its_fix_and_not_read_as_empty(
    older_tables: Path, table: schemas.Table
) -> None:
    recorded = Store(place(older_tables)).open(table).version
    shutil.rmtree(older_tables / table.name)
    (found,) = broken(examine(str(older_tables)))
    assert found.subject == "tables"
    assert found.found.startswith(f"table {table.name} is missing, and was at version {recorded} in run ")
    assert "run the streams again" in found.fix
    for chosen in ({"run": "last"}, {"release": "first"}):
        with pytest.raises(UserError, match=f"table {table.name} is missing, and was recorded at version") as refused:
            View.of(Workspace.at(older_tables), **chosen).sql(f"SELECT count(*) FROM {table.name}")
        assert len(str(refused.value).splitlines()) == 1


def test_a_moved_log_is_reported_as_a_missing_table(older_tables: Path) -> None:
    (older_tables / "quality" / "_delta_log").rename(older_tables.parent / "away")
    assert [found.found[:24] for found in broken(examine(str(older_tables), verify=True))] == [
        "table quality is missing"
    ]


def test_a_table_that_lost_its_last_commit_is_younger_than_the_run_that_made_it(older_tables: Path) -> None:
    left = take_back(older_tables, schemas.CURATION)
    (found,) = broken(examine(str(older_tables)))
    assert found.found.startswith(f"table curation is at version {left}, and was at version {left + 1} in run ")
    view = View.of(Workspace.at(older_tables), run="last")
    with pytest.raises(UserError, match=f"table curation is at version {left} now, and was recorded at {'version'}"):
        view.sql("SELECT count(*) FROM curation")
    # What a release has of it is there.
    assert View.of(Workspace.at(older_tables), release="first").sql("SELECT * FROM curation").num_rows == 6


def test_running_again_fixes_what_can_be_computed(healthy: Path, older_tables: Path) -> None:
    shutil.rmtree(older_tables / "duplicates")
    go(Workspace.at(older_tables), healthy.parent / "cam")
    findings = examine(str(older_tables))
    assert broken(findings) == []
    (earlier,) = [found for found in findings if found.subject == "earlier runs"]
    assert earlier.level == "note"
    assert View.of(Workspace.at(older_tables), run="last").sql("SELECT * FROM duplicates").num_rows == 9


def test_a_run_that_needs_a_lost_table_as_little_as_it_writes_it_hides_no_loss(
    healthy: Path, older_tables: Path
) -> None:
    # No release remembers it either.
    for name in ("duplicates", "releases"):
        shutil.rmtree(older_tables / name)
    go(Workspace.at(older_tables), healthy.parent / "cam", settings=["stages=[frames]"])
    (found,) = broken(examine(str(older_tables)))
    gone = "table duplicates is missing, though heads show what stage duplicates wrote"
    assert found.found == gone
    # Nor does it read as if it had been empty.
    view = View.of(Workspace.at(older_tables))
    for read in (lambda: view.sql("SELECT * FROM duplicates"), lambda: view.lazy("duplicates")):
        with pytest.raises(BrokenTableError, match=f"{gone}; `winnow doctor` says what helps"):
            read()


def test_a_release_of_a_table_that_was_created_once_more_is_lost(healthy: Path, older_tables: Path) -> None:
    release.create(Store(place(older_tables)), "second")
    recorded = Store(place(older_tables)).open(schemas.QUALITY).version
    shutil.rmtree(older_tables / "quality")
    go(Workspace.at(older_tables), healthy.parent / "cam")
    now = Store(place(older_tables)).open(schemas.QUALITY).version
    (found,) = broken(examine(str(older_tables)))
    assert found.found == f"table quality is at version {now}, and was at version {recorded} in release second"
    assert found.fix.startswith("bring it back from a backup, or, if there is none, give it up with ")
    assert "again" not in found.fix


@pytest.mark.parametrize(
    "lose", [lambda root: shutil.rmtree(root / "runs"), lambda root: take_back(root, schemas.RUNS)]
)
def test_runs_that_the_tables_have_forgotten_are_known_by_their_jobs(
    older_tables: Path, lose: Callable[[Path], object]
) -> None:
    lose(older_tables)
    (found,) = broken(examine(str(older_tables)))
    assert found.found.startswith("table runs does not know the end of ")
    assert "backup" in found.fix


def test_jobs_that_are_no_runs_are_not_missed_among_them(older_tables: Path) -> None:
    workspace = Workspace.at(older_tables)
    job_id = tasks.submit(workspace, ReleaseOptions(name="by-a-job"))
    tasks.run_here(workspace, job_id, SilentListener())
    assert not broken(examine(str(older_tables)))
    assert winnow("tables", "vacuum", "-w", older_tables).exit_code == 0


def test_a_run_without_its_stages_is_not_read_as_empty(older_tables: Path) -> None:
    shutil.rmtree(older_tables / "stage_runs")
    assert [found.found[:27] for found in broken(examine(str(older_tables)))] == ["table stage_runs is missing"]
    with pytest.raises(UserError, match="table stage_runs does not have its stages"):
        View.of(Workspace.at(older_tables), run="last")


def test_files_of_the_tables_of_runs_that_are_missing_end_no_look(older_tables: Path) -> None:
    for file in (older_tables / "heads").glob("*.parquet"):
        file.unlink()
    (found,) = broken(examine(str(older_tables)))
    assert found.found.endswith(".parquet is missing")


def test_every_record_of_a_job_is_read(tables: Path) -> None:
    folder = max((tables / "jobs").iterdir())
    first = folder / "000001.json"
    kept = first.read_bytes()
    first.write_text("garbage")
    (found,) = broken(examine(str(tables)))
    assert found.subject == "jobs"
    assert found.found.startswith(f"{first} is no record of a job")
    assert str(folder) in found.fix
    first.write_bytes(kept)
    JobLog(place(tables), folder.name).add("failed")
    (folder / "000002.json").unlink()
    assert [found.found for found in table_checks.jobs(place(tables))] == [
        f"job {folder.name} lacks its record 000002.json"
    ]
    # One that was being cleared is no job any more.
    first.unlink()
    assert list(table_checks.jobs(place(tables))) == []
