"""Columns in memory: read once, taken over by later versions where their files are the same, right in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

import schemas
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Store
from jobs.storage.workspace import Workspace
from jobs.views.snapshot_spec import current
from jobs.web.frame_table import FrameTable

_KEY = "k1"


def _rows(table: schemas.Table, stream: str, numbers: list[int], **columns: list[object]) -> pa.Table:
    n = len(numbers)
    plain = {"string": "x", "int64": 0, "bool": False}
    given = {"stream_id": [stream] * n, "frame_idx": numbers, **columns}
    return pa.table(
        {
            f.name: pa.array(given.get(f.name, [None if f.nullable else plain.get(str(f.type), [])] * n), f.type)
            for f in table.file_schema
        },
        table.file_schema,
    )


def _write(store: Store, table: schemas.Table, rows: pa.Table, key: str = _KEY) -> None:
    store.open(table).commit(Change([write_part(store.root, table, rows, {"stage_key": key})]), "job")


def _shown(store: Store, before: FrameTable | None = None) -> FrameTable:
    for table in schemas.ALL:
        store.open(table)
    fixed = store.as_seen()
    return FrameTable(fixed, current(fixed), before)


def _workspace(tmp_path: Path) -> Store:
    store = Store(Workspace.at(tmp_path / "tables").create().root)
    store.create_tables()
    # Later streams first, numbers in any order, and a stream that nothing shows.
    _write(store, schemas.FRAMES, _rows(schemas.FRAMES, "b", [7, 5], input_id=[1, 2], width=[4, None]))
    _write(store, schemas.FRAMES, _rows(schemas.FRAMES, "a", [3, 1, 2], input_id=[3, 4, 5]))
    _write(store, schemas.FRAMES, _rows(schemas.FRAMES, "hidden", [1], input_id=[9]))
    _write(store, schemas.QUALITY, _rows(schemas.QUALITY, "a", [2, 3], sharpness=[0.5, None]))
    _write(
        store, schemas.CURATION, _rows(schemas.CURATION, "a", [1, 2], keep=[True, False], reasons=[[], ["dark", "odd"]])
    )
    heads = [
        {"stream_id": stream, "stage": stage, "stage_key": _KEY, "job_id": "job", "moved_ns": 1, "rule": None}
        for stream in ("a", "b")
        for stage in ("frames", "quality", "curation")
    ]
    store.upsert(schemas.HEADS, pa.Table.from_pylist(heads, schemas.HEADS.arrow_schema), "job")
    return store


def test_columns_are_in_order_of_streams_and_numbers(tmp_path: Path) -> None:
    table = _shown(_workspace(tmp_path))
    keys = table.keys
    assert [keys.frame(row) for row in range(len(keys))] == [("a", 1), ("a", 2), ("a", 3), ("b", 5), ("b", 7)]
    assert [keys.find(*frame) for frame in (("a", 2), ("b", 7), ("a", 5), ("hidden", 1), ("c", 1))] == [
        1,
        4,
        *[None] * 3,
    ]
    assert table.column("content").tolist() == [4, 5, 3, 2, 1]
    assert np.array_equal(table.column("width"), [np.nan, np.nan, np.nan, np.nan, 4], equal_nan=True)
    assert np.array_equal(table.column("sharpness"), np.array([np.nan, 0.5, *[np.nan] * 3], np.float32), equal_nan=True)
    verdicts = table.verdicts
    assert verdicts.kept.tolist() == [True, *[False] * 4]
    assert verdicts.dropped.tolist() == [False, True, *[False] * 3]
    # Also a reason that this version does not know.
    assert verdicts.reasons_of(int(verdicts.bits[1])) == ["dark", "odd"]
    assert keys.per_stream(np.array([True, False, True, False, True])).tolist() == [2, 1]
    assert table.hashes([3]) == ["0200000000000000"]


def test_an_empty_workspace_has_no_frames(tmp_path: Path) -> None:
    store = Store(Workspace.at(tmp_path / "tables").create().root)
    store.create_tables()
    table = _shown(store)
    assert (len(table.keys), len(table.column("luma")), len(table.verdicts.bits), table.has_objects) == (0, 0, 0, False)
    assert len(table.objects.counts) == 0


def test_a_later_version_takes_over_what_has_not_changed(tmp_path: Path) -> None:
    store = _workspace(tmp_path)
    first = _shown(store)
    held = first.column("sharpness"), first.verdicts, first.keys
    # Under a key that nothing shows, and of a stream that nothing shows: no column depends on it.
    _write(store, schemas.QUALITY, _rows(schemas.QUALITY, "a", [1], sharpness=[0.9]), "other")
    _write(store, schemas.QUALITY, _rows(schemas.QUALITY, "hidden", [1], sharpness=[0.9]))
    second = _shown(store, first)
    assert second.column("sharpness") is held[0]
    _write(store, schemas.QUALITY, _rows(schemas.QUALITY, "a", [1], sharpness=[0.7]))
    third = _shown(store, second)
    assert third.column("sharpness")[:2].tolist() == [np.float32(0.7), 0.5]
    assert (third.verdicts is held[1], third.keys is held[2]) == (True, True)
    # The first version stays as it was.
    assert np.isnan(first.column("sharpness")[0])
    _write(store, schemas.FRAMES, _rows(schemas.FRAMES, "b", [6]))
    fourth = _shown(store, third)
    assert len(fourth.keys) == 6
    assert len(fourth.verdicts.bits) == 6
    assert len(third.keys) == 5
