from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import schemas
from jobs.storage import data_files
from jobs.storage.data_files import Part, write_part
from jobs.storage.paths import place
from jobs.storage.store import Change, ConflictError, Drop, Snapshot, Store
from tests.helpers import on_disk, table_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Empty tables."""
    made = Store(place(tmp_path))
    made.create_tables()
    return made


def hashes(stream: str, index: list[int], word: str = "0" * 16) -> pa.Table:
    n = len(index)
    rows = {
        "input_id": index,
        "stream_id": [stream] * n,
        "frame_idx": index,
        "phash": [word] * n,
        "layout": [bytes(64)] * n,
    }
    return table_of(rows, schemas.FINGERPRINTS.file_schema)


def part(store: Store, rows: pa.Table, key: str = "k") -> Part:
    return write_part(store.root, schemas.FINGERPRINTS, rows, {"stage_key": key})


def add(store: Store, rows: pa.Table, key: str = "k") -> None:
    store.open(schemas.FINGERPRINTS).commit(Change([part(store, rows, key)]), "job")


def present(store: Store, key: str = "k") -> list[tuple[str, int]]:
    rows = store.open(schemas.FINGERPRINTS).read(("stream_id", "frame_idx"), key)
    return sorted(zip(rows["stream_id"].to_pylist(), rows["frame_idx"].to_pylist(), strict=True))


def test_tables_are_created_once_and_empty(store: Store) -> None:
    store.create_tables()
    for table in schemas.ALL:
        snapshot = store.open(table)
        assert (snapshot.version, snapshot.n_rows) == (0, 0)
        assert (on_disk(store.root) / table.name / "_delta_log").is_dir()


def test_a_table_that_does_not_exist_reads_as_empty(tmp_path: Path) -> None:
    snapshot = Store(place(tmp_path)).open(schemas.RUNS)
    assert (snapshot.version, snapshot.read().num_rows) == (-1, 0)
    assert snapshot.read().schema == schemas.RUNS.arrow_schema
    assert snapshot.lazy().collect().height == 0


def test_equal_rows_are_one_file_and_other_rows_another(store: Store) -> None:
    one, same = part(store, hashes("a", [1, 2])), part(store, hashes("a", [1, 2]))
    other = part(store, hashes("a", [1, 2], "f" * 16))
    assert one.path == same.path != other.path
    assert one.low == {"stream_id": "a", "frame_idx": 1}
    assert Part.from_json(one.to_json()) == one


def test_rows_that_do_not_fit_are_never_written(store: Store) -> None:
    with pytest.raises(schemas.SchemaMismatchError):
        part(store, hashes("a", [1, 1]))
    assert list((on_disk(store.root) / "fingerprints").glob("**/*.parquet")) == []


def test_reading_narrows_to_streams_and_numbers(store: Store) -> None:
    add(store, hashes("a", [1, 2, 3]))
    add(store, hashes("b", [2, 9]))
    add(store, hashes("c", [2]), key="other")
    assert present(store) == [("a", 1), ("a", 2), ("a", 3), ("b", 2), ("b", 9)]
    snapshot = store.open(schemas.FINGERPRINTS)
    narrow = snapshot.read(("frame_idx", "stage_key"), "k", frozenset(["a"]), (2, 3))
    assert narrow.to_pylist() == [{"frame_idx": 2, "stage_key": "k"}]
    assert snapshot.stage_keys() == {"k", "other"}


def test_a_change_from_an_old_snapshot_is_refused(store: Store) -> None:
    old = store.open(schemas.FINGERPRINTS)
    add(store, hashes("a", [1]))
    with pytest.raises(ConflictError):
        old.commit(Change([part(store, hashes("a", [2]))]), "job")
    assert present(store) == [("a", 1)]


def test_dropping_keys_keeps_the_other_rows_of_their_files(store: Store) -> None:
    add(store, hashes("a", list(range(10))))
    add(store, hashes("b", [3]))
    keys = pa.table({"stream_id": ["a", "a"], "frame_idx": [3, 4]})
    replacement = part(store, hashes("a", [3], "f" * 16))
    store.open(schemas.FINGERPRINTS).commit(Change([replacement], [Drop("k", keys=keys)]), "job")
    assert present(store) == [("a", i) for i in (0, 1, 2, 3, 5, 6, 7, 8, 9)] + [("b", 3)]
    rows = store.open(schemas.FINGERPRINTS).read(None, "k", frozenset(["a"]), (3, 4))
    assert rows["phash"].to_pylist() == ["f" * 16]


def test_dropping_streams_and_whole_configurations(store: Store) -> None:
    for stream in ("a", "b"):
        add(store, hashes(stream, [1, 2]))
    add(store, hashes("a", [1]), key="other")
    store.open(schemas.FINGERPRINTS).commit(Change(drop=[Drop("k", frozenset(["a"]))]), "job")
    assert (present(store), present(store, "other")) == ([("b", 1), ("b", 2)], [("a", 1)])
    store.open(schemas.FINGERPRINTS).commit(Change(drop=[Drop("k")]), "job")
    assert (present(store), present(store, "other")) == ([], [("a", 1)])


def test_dropping_unknown_keys_changes_nothing(store: Store) -> None:
    add(store, hashes("a", [1]))
    snapshot = store.open(schemas.FINGERPRINTS)
    keys = pa.table({"stream_id": ["a"], "frame_idx": [7]})
    assert snapshot.commit(Change(drop=[Drop("k", keys=keys)]), "job").version == snapshot.version


def test_old_versions_stay_readable(store: Store) -> None:
    add(store, hashes("a", [1, 2]))
    version = store.open(schemas.FINGERPRINTS).version
    store.open(schemas.FINGERPRINTS).commit(Change(drop=[Drop("k")]), "job")
    pinned = Store(store.root, {"fingerprints": version})
    assert present(pinned) == [("a", 1), ("a", 2)]
    assert pinned.open(schemas.QUALITY).read(None, "k").num_rows == 0


def heads(*rows: tuple[str, str, str]) -> pa.Table:
    values = [
        {"stream_id": s, "stage": stage, "stage_key": key, "job_id": "j", "moved_ns": 1} for s, stage, key in rows
    ]
    return pa.Table.from_pylist(values, schemas.HEADS.arrow_schema)


def test_upsert_replaces_rows_with_the_same_key(store: Store) -> None:
    store.upsert(schemas.HEADS, heads(("a", "idle", "1"), ("b", "idle", "1")), "job")
    store.upsert(schemas.HEADS, heads(("a", "idle", "2"), ("c", "idle", "1")), "job")
    rows = pl.DataFrame(store.read(schemas.HEADS)).sort("stream_id")
    assert rows.select("stream_id", "stage_key").rows() == [("a", "2"), ("b", "1"), ("c", "1")]


def test_a_transaction_gives_way_and_tries_again(store: Store) -> None:
    other = Store(store.root)
    disturbed: list[int] = []

    def change_and_be_overtaken(snapshot: Snapshot) -> Change:
        if len(disturbed) < 3:
            disturbed.append(snapshot.version)
            other.upsert(schemas.HEADS, heads(("x", f"{len(disturbed)}", "1")), "other")
        return Change([write_part(store.root, schemas.HEADS, heads(("a", "idle", "1")))])

    store.transact(schemas.HEADS, change_and_be_overtaken, "job")
    assert len(disturbed) == 3
    assert sorted(store.open(schemas.HEADS).read(("stream_id",))["stream_id"].to_pylist()) == ["a", "x", "x", "x"]


def test_delta_readers_of_other_programs_see_the_same(store: Store) -> None:
    add(store, hashes("a", [1, 2]))
    frame = pl.read_delta(str(store.root / "fingerprints"))
    assert frame.columns == schemas.FINGERPRINTS.arrow_schema.names
    assert frame["stage_key"].to_list() == ["k", "k"]


def test_a_table_whose_creation_was_cut_short_is_created(tmp_path: Path) -> None:
    (tmp_path / "frames/_delta_log").mkdir(parents=True)
    store = Store(place(tmp_path))
    store.create_tables()
    assert store.open(schemas.FRAMES).version == 0


def test_a_column_that_a_newer_version_brings_is_added_and_null_in_older_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(place(tmp_path))
    store.create_tables()
    store.open(schemas.FINGERPRINTS).commit(Change([part(store, hashes("a", [0]))]), "old")
    extra = schemas.Column("ahash", pa.string(), "Another hash.")
    wider = dataclasses.replace(schemas.FINGERPRINTS, columns=(*schemas.FINGERPRINTS.columns, extra))
    # A release names a version that never had the column.
    before = Store(place(tmp_path), {wider.name: store.open(wider).version}).open(wider)
    assert before.lazy().collect().select("frame_idx", "ahash").rows() == [(0, None)]
    assert before.dataset().to_table(columns=["frame_idx", "ahash"]).to_pylist() == [{"frame_idx": 0, "ahash": None}]
    assert before.read(("frame_idx", "ahash"), "k").to_pylist() == [{"frame_idx": 0, "ahash": None}]
    monkeypatch.setattr(schemas, "ALL", tuple(wider if t.name == wider.name else t for t in schemas.ALL))
    store.create_tables()
    fresh = hashes("a", [1]).append_column("ahash", pa.array(["x"]))
    store.open(wider).commit(Change([write_part(store.root, wider, fresh, {"stage_key": "k"})]), "new")
    assert store.open(wider).lazy().sort("frame_idx").collect()["ahash"].to_list() == [None, "x"]
    assert sorted(store.open(wider).dataset().to_table()["ahash"].to_pylist(), key=str) == [None, "x"]


def test_a_part_that_comes_in_pieces_is_one_file_with_the_bounds_of_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "_ROWS_PER_GROUP", 2)
    pieces = [hashes("b", [7, 8, 9]), hashes("a", [30]), hashes("c", [1, 2])]
    written = write_part(store.root, schemas.FINGERPRINTS, pieces, {"stage_key": "k"})
    assert (written.n_rows, written.low, written.high) == (
        6,
        {"stream_id": "a", "frame_idx": 1},
        {"stream_id": "c", "frame_idx": 30},
    )
    assert pq.ParquetFile(store.root / "fingerprints" / written.path).num_row_groups == 4
    store.open(schemas.FINGERPRINTS).commit(Change([written]), "job")
    assert present(store) == [("a", 30), ("b", 7), ("b", 8), ("b", 9), ("c", 1), ("c", 2)]
    narrow = store.open(schemas.FINGERPRINTS).read(("frame_idx",), "k", frozenset("b"), (8, None))
    assert sorted(narrow["frame_idx"].to_pylist()) == [8, 9]


def test_several_drops_of_one_change_may_touch_one_file(store: Store) -> None:
    add(store, hashes("a", list(range(10))))
    key = pa.schema([schemas.FINGERPRINTS.arrow_schema.field(n) for n in schemas.FRAME_KEY])
    drops = [Drop("k", keys=pa.Table.from_pylist([{"stream_id": "a", "frame_idx": n}], key)) for n in (1, 8)]
    store.open(schemas.FINGERPRINTS).commit(Change(drop=drops), "job")
    assert present(store) == [("a", n) for n in (0, 2, 3, 4, 5, 6, 7, 9)]
    store.open(schemas.FINGERPRINTS).commit(Change(drop=[*drops, Drop("k", frozenset("a"))]), "job")
    assert present(store) == []
