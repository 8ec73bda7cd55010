"""The tables that a small run does not write, each with rows: what is lost of them is reported as it is of the others.

A table that is added to `schemas` is in these tests without an edit of them.
"""

from __future__ import annotations

import shutil
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import schemas
from jobs.diagnostics import file_checks, table_checks
from jobs.diagnostics.losses import refuse_if_broken
from jobs.storage import image_files
from jobs.storage.data_files import Part, write_part
from jobs.storage.paths import place
from jobs.storage.store import Change, Snapshot, Store
from jobs.storage.written_tables import refuse_losses
from tests.helpers import copy_stream
from tests.jobs.diagnostics.test_losses import away, cuts, entries, names, nothing_deletes, query, replaced, says_so

_IMAGE = f"{image_files.FOLDER}/one.jpg"
_LISTS = (schemas.HEADS, schemas.RUNS, schemas.STAGE_RUNS, schemas.SCOPES, schemas.RELEASES, schemas.QUARANTINE)


def _value(dtype: pa.DataType) -> Any:
    """Return some value of a type; every text may be the path of a file that is there."""
    if pa.types.is_fixed_size_list(dtype):
        return [_value(dtype.value_type)] * dtype.list_size
    if pa.types.is_list(dtype):
        return [_value(dtype.value_type)]
    if pa.types.is_struct(dtype):
        return {field.name: _value(field.type) for field in dtype}
    if pa.types.is_floating(dtype):
        return 0.5
    return {pa.string(): _IMAGE, pa.binary(): b"x", pa.bool_(): True}.get(dtype, 1)


def _add_row(store: Store, table: schemas.Table) -> None:
    row = {field.name: _value(field.type) for field in table.file_schema}
    row |= {column.name: type(row[column.name])(column.low) for column in table.columns if column.low is not None}
    rows = pa.Table.from_pylist([row], table.file_schema)
    part = write_part(store.root, table, rows, {"stage_key": "0" * 16} if table.has_stage_key else {})

    def adding(_: Snapshot, part: Part = part) -> Change:
        return Change([part])

    store.create_tables([table])
    store.transact(table, adding, "job")


@pytest.fixture(scope="module")
def complete(healthy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every table has rows; to be read, or damaged for a while."""
    root = copy_stream(healthy, tmp_path_factory.mktemp("complete") / "tables")
    (root / _IMAGE).parent.mkdir()
    (root / _IMAGE).write_bytes(b"an image")
    store = Store(place(root))
    for table in schemas.ALL:
        if store.open(table).n_rows == 0:
            _add_row(store, table)
    refuse_if_broken(Store(place(root)), "tables vacuum")
    return root


@pytest.fixture
def added(healthy: Path, complete: Path) -> list[str]:
    """Return the tables that the workspace of the other tests lacks."""
    return sorted({*names(complete)} - {*names(healthy)})


def is_reported(root: Path, name: str) -> None:
    """Check that doctor finds a table broken, and so what deletes does."""
    found = list(table_checks.opened(Store(place(root)), [schemas.BY_NAME[name]]))
    assert any(finding.level == "broken" and name in finding.found for finding in found), found


def test_each_table_is_recorded(complete: Path, added: list[str]) -> None:
    assert set(names(complete)) == set(schemas.BY_NAME)
    assert set(Store(place(complete)).written.newest()) == set(schemas.BY_NAME)
    newer = {"model_versions", "aliases", "train_epochs", "overrides", "review_events", "splits", "categories"}
    assert newer <= set(added)


def test_any_one_table_and_any_two_are_missed(complete: Path, added: list[str]) -> None:
    of_lists = [(one.name, two.name) for one, two in combinations(_LISTS, 2)]
    cases = [*((name,) for name in added), *of_lists, *((name, "heads") for name in added)]
    assert len(cases) == 2 * len(added) + 15
    for lost in cases:
        with away(*(complete / name for name in lost)):
            nothing_deletes(complete, *lost)
            for name in lost:
                says_so(partial(query, complete, name), name)
    for pair in combinations(names(complete), 2):
        with away(*(complete / name for name in pair)):
            says_so(partial(refuse_losses, Store(place(complete))), *pair)
    # With all of them there again, nothing is missed.
    refuse_if_broken(Store(place(complete)), "tables vacuum")


def test_any_entry_of_a_log_that_is_cut_or_lost_is_reported(complete: Path, added: list[str]) -> None:
    n_cases = 0
    for name in added:
        every = entries(complete, name)
        for entry in every:
            for left in cuts(entry.read_bytes()):
                n_cases += 1
                with replaced(entry, left):
                    is_reported(complete, name)
                    says_so(partial(query, complete, name), name)
        for n in range(1, len(every)):
            with away(*every[-n:]):
                is_reported(complete, name)
                says_so(partial(query, complete, name), name)
    assert n_cases > 5 * len(added)


def test_any_data_file_that_is_lost_or_replaced_is_reported(complete: Path, added: list[str]) -> None:
    store = Store(place(complete))
    other = next((complete / "frames").rglob("*.parquet")).read_bytes()
    for name in added:
        wanted = {path: size for path, size in file_checks.referred(store).items() if path.split("/")[0] == name}
        assert wanted
        for file in (complete / path for path in wanted):
            data = file.read_bytes()
            flipped = bytearray(data)
            flipped[len(data) // 3] ^= 4
            with away(file):
                assert [f.level for f in file_checks.presence(store, wanted)] == ["broken"]
                says_so(partial(query, complete, name), "")
            for wrong in (data[:-1], b"", bytes(flipped), other):
                with replaced(file, wrong):
                    assert file_checks.hashes(store, wanted).level == "broken"
                    says_so(partial(query, complete, name), "not what was written")


def test_the_record_and_a_table_that_jobs_know_may_be_lost_at_once(complete: Path, tmp_path: Path) -> None:
    root = copy_stream(complete, tmp_path / "tables")
    shutil.rmtree(root / "written")
    for name in ("frames", "heads", "runs", "releases"):
        with away(root / name):
            nothing_deletes(root, name)
    assert names(root) == names(complete)
