from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema

import schemas
from jobs.storage import delta_log
from jobs.storage.data_files import write_part
from jobs.storage.delta_log import log_entry, newest_version, read_log, read_newer
from jobs.storage.file_pruning import DataFile
from jobs.storage.paths import place
from jobs.storage.store import Change, Drop, Store
from tests.helpers import table_of

TABLE = schemas.FINGERPRINTS


def hashes(stream: str, index: list[int]) -> pa.Table:
    n = len(index)
    values = [index, [stream] * n, index, ["0" * 16] * n, [bytes(64)] * n]
    return table_of(dict(zip(TABLE.file_schema.names, values, strict=False)), TABLE.file_schema)


def add(store: Store, stream: str, index: list[int]) -> None:
    part = write_part(store.root, TABLE, hashes(stream, index), {"stage_key": "k"})
    keys = pa.table({"stream_id": [stream] * len(index), "frame_idx": index})
    store.open(TABLE).commit(Change([part], [Drop("k", keys=keys)]), "job")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(place(tmp_path))
    made.create_tables([TABLE])
    return made


def as_the_library_has_it(at: Path, version: int | None = None) -> set[DataFile]:
    return set(DataFile.of_actions(pa.table(DeltaTable(at, version=version).get_add_actions(flatten=True))))


@pytest.mark.parametrize("table", [schemas.FRAMES, schemas.RUNS])
def test_a_new_table_is_what_the_library_would_make_of_it(table: schemas.Table, tmp_path: Path) -> None:
    Store(place(tmp_path)).create_tables([table])
    mine = DeltaTable(tmp_path / table.name)
    schema = Schema.from_arrow(table.arrow_schema)
    settings: dict[str, str | None] = dict(mine.metadata().configuration)
    DeltaTable.create(
        tmp_path / "theirs",
        schema,
        partition_by=list(table.partition_by),
        description=table.doc,
        configuration=settings,
    )
    theirs = DeltaTable(tmp_path / "theirs")
    assert (mine.schema(), mine.protocol(), mine.version()) == (theirs.schema(), theirs.protocol(), 0)
    said, expected = mine.metadata(), theirs.metadata()
    for name in ("name", "description", "partition_columns", "configuration"):
        assert getattr(said, name) == getattr(expected, name)
    assert settings["delta.checkpointInterval"] == ("50" if table.has_stage_key else "10")


def test_a_log_adds_up_to_what_the_library_makes_of_it_at_every_version(store: Store, tmp_path: Path) -> None:
    add(store, "a cam%20/1", [0, 1, 2])
    add(store, "b", [0])
    add(store, "a cam%20/1", [2, 3])
    at = tmp_path / TABLE.name
    assert newest_version(place(at)) == 3
    for version in range(4):
        state = read_log(place(at), version)
        assert state is not None
        assert (state.version, set(state.files.values())) == (version, as_the_library_has_it(at, version))
        assert state.columns == frozenset(TABLE.arrow_schema.names)
        on = read_newer(place(at), state)
        assert on is not None
        assert (on.version, set(on.files.values())) == (3, as_the_library_has_it(at))


def test_unusual_log_entries_are_read_by_the_library(store: Store, tmp_path: Path) -> None:
    at = tmp_path / TABLE.name
    for number in range(3):
        add(store, "a", [number])
    entry = log_entry(place(at), 3).on_disk()
    assert entry is not None
    said, *actions = entry.read_text().splitlines()
    # As another program would write it, which does not count its actions.
    about = {k: v for k, v in json.loads(said)["commitInfo"].items() if k not in {"actions", "rows", "files_hash"}}
    text = "\n".join([json.dumps({"commitInfo": about}), *actions])
    for line in ("{", '{"txn": {"appId": "x", "version": 1}}', '{"protocol": {"minReaderVersion": 3}}'):
        entry.write_text(f"{text}\n{line}\n")
        assert read_log(place(at)) is None
    entry.write_text(text)
    assert read_log(place(at)) is not None
    assert read_log(place(at), 9) is None
    assert read_log(place(tmp_path / "nothing")) == delta_log.ABSENT
    DeltaTable(at).create_checkpoint()
    assert read_log(place(at)) is None
    assert sorted(Store(place(tmp_path)).open(TABLE).read(("frame_idx",), "k")["frame_idx"].to_pylist()) == [0, 1, 2]


def test_another_program_commits_in_between(store: Store, tmp_path: Path) -> None:
    add(store, "a", [0])
    frame = pl.DataFrame(store.open(TABLE).read(None, "k")).with_columns(stream_id=pl.lit("theirs"))
    frame.write_delta(str(tmp_path / TABLE.name), mode="append")
    add(store, "a", [1])
    found = store.open(TABLE).read(("stream_id", "frame_idx"), "k").to_pylist()
    assert sorted((row["stream_id"], row["frame_idx"]) for row in found) == [("a", 0), ("a", 1), ("theirs", 0)]
    assert [json.loads(line) for line in log_entry(place(tmp_path / TABLE.name), 0).read().splitlines()][1] == {
        "protocol": {"minReaderVersion": 1, "minWriterVersion": 2}
    }
