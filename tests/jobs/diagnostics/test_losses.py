"""Everything that a workspace can lose, one case after the other: what reads it says so, and nothing deletes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import combinations
from pathlib import Path
from unittest import mock

import pytest
from deltalake import DeltaTable

import schemas
from jobs.core.errors import BrokenTableError, UserError
from jobs.core.os_errors import as_problem
from jobs.datasets import release
from jobs.diagnostics import file_checks
from jobs.diagnostics.doctor import examine
from jobs.diagnostics.losses import accept_loss, refuse_if_broken
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.storage.written_tables import refuse_losses
from jobs.views.view import View
from tests.helpers import go, rows


def names(root: Path) -> list[str]:
    return [table.name for table in schemas.ALL if (root / table.name).is_dir()]


def entries(root: Path, name: str) -> list[Path]:
    return sorted((root / name / "_delta_log").glob("*.json"))


@contextmanager
def away(*paths: Path) -> Iterator[None]:
    """Have files or folders be gone for a while."""
    for path in paths:
        path.rename(path.with_name(f".{path.name}.away"))
    try:
        yield
    finally:
        for path in paths:
            path.with_name(f".{path.name}.away").rename(path)


@contextmanager
def replaced(path: Path, data: bytes) -> Iterator[None]:
    """Have a file contain something else for a while."""
    with away(path):
        path.write_bytes(data)
        try:
            yield
        finally:
            path.unlink()


def query(root: Path, name: str, at: dict[str, int] | None = None) -> int:
    """Read all rows of a table as every command does, now or at versions."""
    return Store(place(root), at).open(schemas.BY_NAME[name]).dataset().to_table().num_rows


def says_so(read: Callable[[], object], *lost: str) -> None:
    """Check that what reads is refused in lines that name what is lost; the program makes a line of an `OSError`."""
    with pytest.raises((UserError, FileNotFoundError)) as caught:
        read()
    error = caught.value
    lines = [as_problem(error)] if isinstance(error, OSError) else str(error).splitlines()
    for name in lost:
        assert any(name in line for line in lines), (lost, lines)


def nothing_deletes(root: Path, *lost: str) -> None:
    """Check that the commands which delete are refused, by the same checks as doctor has, and that all is named."""
    says_so(lambda: refuse_if_broken(Store(place(root)), "tables vacuum"), *lost)


def test_doctor_and_runs_report_any_one_or_two_missing_tables(tables: Path) -> None:
    everything = names(tables)
    assert len(everything) >= 15
    refuse_if_broken(Store(place(tables)), "tables vacuum")
    for lost in [*((name,) for name in everything), *combinations(everything, 2)]:
        with away(*(tables / name for name in lost)):
            nothing_deletes(tables, *lost)
            says_so(partial(refuse_losses, Store(place(tables))), *lost)
            for name in lost:
                says_so(partial(query, tables, name), name)
    refuse_if_broken(Store(place(tables)), "tables vacuum")


def cuts(entry: bytes) -> Iterator[bytes]:
    """Yield what can be left of an entry: nothing, and every number of whole lines, and part of a line."""
    lines = entry.splitlines(keepends=True)
    yield from (b"".join(lines[:n]) for n in range(len(lines)))
    yield entry[: len(entry) // 2]
    yield b"".join(lines[1:])


def test_doctor_and_runs_report_any_truncated_entry_of_a_log(tables: Path) -> None:
    n_cases = 0
    for name in names(tables):
        for entry in entries(tables, name):
            for left in cuts(entry.read_bytes()):
                n_cases += 1
                with replaced(entry, left):
                    nothing_deletes(tables, name)
                    if not list(entry.parent.glob("*.checkpoint.parquet")):
                        says_so(partial(query, tables, name), name)
    assert n_cases > 100


def test_an_entry_under_a_checkpoint_that_was_cut_is_missed_by_doctor_and_where_that_version_is_read(
    tables: Path,
) -> None:
    for name in ("heads", "runs", "frames"):
        DeltaTable(tables / name).create_checkpoint()
        n_rows = query(tables, name)
        for version, entry in enumerate(entries(tables, name)):
            for left in cuts(entry.read_bytes()):
                with replaced(entry, left):
                    nothing_deletes(tables, name)
                    says_so(partial(query, tables, name, {name: version}), name)
            with away(entry):
                nothing_deletes(tables, name)
        # What the checkpoint has is all there.
        assert query(tables, name) == n_rows


def test_doctor_and_runs_report_missing_last_entries_of_a_log(tables: Path) -> None:
    n_cases = 0
    for name in names(tables):
        for n in range(1, len(entries(tables, name))):
            n_cases += 1
            with away(*entries(tables, name)[-n:]):
                nothing_deletes(tables, name)
                says_so(partial(query, tables, name), name)
    assert n_cases >= len(names(tables))


def test_doctor_reports_any_missing_or_replaced_data_file(tables: Path) -> None:
    store = Store(place(tables))
    wanted = file_checks.referred(store)
    current = {tables / t.name / f.path for t in schemas.ALL for f in store.open(t).files}
    assert len(current) >= 15
    other = min((tables / name for name in wanted), key=lambda file: file.stat().st_size).read_bytes()
    for file in (tables / name for name in sorted(wanted)):
        data = file.read_bytes()
        name = file.relative_to(tables).parts[0]
        with away(file):
            nothing_deletes(tables, file.name if name not in {"heads", "releases", "runs"} else name)
            if file in current:
                says_so(partial(query, tables, name), "")
        flipped = bytearray(data)
        flipped[len(data) // 3] ^= 4
        for wrong in (data[:-1], data + b"\0", bytes(flipped), other if other != data else data[::-1]):
            with replaced(file, wrong):
                if file in current:
                    says_so(partial(query, tables, name), "not what was written")
                assert file_checks.hashes(store, wanted).level == "broken"
                if len(wrong) != len(data):
                    assert [f.level for f in file_checks.presence(store, wanted)] == ["broken"]


def test_queries_of_a_missing_table_are_refused(tables: Path) -> None:
    assert len(names(tables)) >= 15
    for name in names(tables):
        with away(tables / name):
            for read in (f"SELECT * FROM {name}", f"SELECT count(*) FROM {name}_all"):
                says_so(lambda read=read: View.of(Workspace.at(tables)).sql(read), name)  # type: ignore[misc]


def test_a_run_that_reads_a_missing_table_is_refused_and_creates_none(healthy: Path, tables: Path) -> None:
    for name in ("duplicates", "heads", "releases"):
        with away(tables / name):
            with pytest.raises(BrokenTableError, match=f"table {name} is missing, and was recorded at version"):
                go(Workspace.at(tables), healthy.parent / "cam")
            assert not (tables / name).exists()


def test_a_loss_can_be_accepted_and_what_is_computed_comes_back(healthy: Path, tables: Path) -> None:
    workspace, store = Workspace.at(tables), Store(place(tables))
    before = rows(workspace, schemas.DUPLICATES)
    release.create(Store(place(tables)), "second")
    with pytest.raises(UserError, match="table duplicates has all that was recorded of it"):
        accept_loss(store, schemas.DUPLICATES, "accept")
    shutil.rmtree(tables / "duplicates")
    assert accept_loss(Store(place(tables)), schemas.DUPLICATES, "accept").endswith("as one that was never written")
    # Nothing shows what is not there.
    assert rows(workspace, schemas.DUPLICATES).height == 0
    assert "duplicates" not in View.of(workspace).selection.keys
    with pytest.raises(BrokenTableError, match=r"table duplicates at version \d was lost, and the loss accepted"):
        View.of(workspace, release="second").sql("SELECT * FROM duplicates")
    refuse_if_broken(Store(place(tables)), "tables vacuum")
    go(workspace, healthy.parent / "cam")
    assert rows(workspace, schemas.DUPLICATES).drop("input_id").equals(before.drop("input_id"))
    with pytest.raises(BrokenTableError, match="the loss accepted"):
        View.of(workspace, release="second").sql("SELECT * FROM duplicates")
    findings = examine(str(tables), verify=True)
    assert [f for f in findings if f.level == "broken"] == []
    assert [f.found for f in findings if f.subject == "releases"] == [
        f"release {name} lacks what it had of duplicates, whose loss was accepted" for name in ("first", "second")
    ]


def test_the_end_of_a_table_that_is_lost_can_be_accepted(tables: Path) -> None:
    last = entries(tables, "releases")[-1]
    last.unlink()
    says_so(
        lambda: query(tables, "releases"), "table releases is at version 0 now, and was recorded at version 1 with 1"
    )
    assert "version 0, 0 rows" in accept_loss(Store(place(tables)), schemas.RELEASES, "accept")
    assert query(tables, "releases") == 0
    refuse_if_broken(Store(place(tables)), "tables vacuum")


@pytest.mark.parametrize("name", ["duplicates", "releases"])
def test_a_loss_can_be_accepted_while_the_clock_is_behind_what_was_recorded(tables: Path, name: str) -> None:
    (shutil.rmtree(tables / name) if name == "duplicates" else entries(tables, name)[-1].unlink())
    nothing_deletes(tables, name)
    with mock.patch("time.time_ns", return_value=time.time_ns() - 3600 * 10**9):
        accepted = accept_loss(Store(place(tables)), schemas.BY_NAME[name], "accept")
    assert name in accepted
    refuse_if_broken(Store(place(tables)), "tables vacuum")
    assert not [f for f in examine(str(tables)) if f.level == "broken"]


def test_nothing_deletes_until_a_lost_record_is_written_again(healthy: Path, tables: Path) -> None:
    shutil.rmtree(tables / "written")
    (found,) = [f for f in examine(str(tables)) if f.level == "broken"]
    assert found.found.startswith("the record of what was written to the tables is missing")
    # What no job has recorded, as a release that was made since, could be missing with it.
    says_so(lambda: refuse_if_broken(Store(place(tables)), "tables vacuum"), "the next run writes it again")
    # What the jobs say of the tables is apart from it.
    for name in names(tables):
        with away(tables / name):
            nothing_deletes(tables, name)
    go(Workspace.at(tables), healthy.parent / "cam")
    assert Store(place(tables)).written.newest().keys() == set(names(tables))
    refuse_if_broken(Store(place(tables)), "tables vacuum")


def test_a_workspace_of_before_there_was_a_record_is_read_and_continued(healthy: Path, older_tables: Path) -> None:
    refuse_if_broken(Store(place(older_tables)), "tables vacuum")
    assert [f for f in examine(str(older_tables)) if f.level == "broken"] == []
    go(Workspace.at(older_tables), healthy.parent / "cam")
    assert Store(place(older_tables)).written.newest().keys() == set(names(older_tables))
    with away(older_tables / "releases"):
        nothing_deletes(older_tables, "releases")
