from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import schemas
from transforms.core.table_stage import WORKSPACE, Span, TableInput
from transforms.curate.duplicates.grouping import INPUT, DuplicateParams, group_frames
from transforms.curate.duplicates.incremental_groups import compute_duplicates
from transforms.curate.duplicates.standing_groups import concerned
from transforms.metrics.hashing import layout_column, to_hex


class _Rows:
    """Rows in memory, in batches of few, out of order."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def read(
        self,
        columns: Sequence[str] | None,
        streams: Collection[str] | None = None,
        span: Span = (None, None),
        table: str = "",
    ) -> pa.Table:
        del span, table
        rows = self._rows
        if streams is not None:
            rows = rows.filter(pc.is_in(rows["stream_id"], pa.array(sorted(streams), pa.string())))
        return rows if columns is None else rows.select(list(columns))

    def batches(self, columns: Sequence[str], streams: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from reversed(self.read(columns, streams).to_batches(7))

    def portions(self, streams: Collection[str]) -> Iterator[tuple[frozenset[str], Span]]:
        yield frozenset(streams), (None, None)


def _fingerprints(rng: np.random.Generator, streams: Sequence[str], n: int) -> pa.Table:
    """Return frames of which many are alike, some have the same bytes, and some no hash."""
    m = len(streams) * n
    scene = np.sort(rng.integers(0, 9, m))
    centres, looks = rng.integers(0, 2**64, 9, np.uint64), rng.integers(0, 256, (9, 64), np.uint8)
    words = centres[scene] ^ (np.uint64(1) << rng.integers(0, 64, m, dtype=np.uint64))
    content = np.where(rng.random(m) < 0.2, rng.integers(0, 9, m), rng.integers(10, 2**60, m))
    # The same bytes have the same hash.
    words = np.where(content < 9, centres[content % 9], words)
    kind = np.where(content < 9, content % 9, scene)
    hashes = to_hex(words).to_pylist()
    columns = {
        "stream_id": np.repeat(streams, n).tolist(),
        "frame_idx": np.tile(np.arange(n) * 3, len(streams)),
        "input_id": content,
        "phash": [None if lost else text for lost, text in zip(rng.random(m) < 0.05, hashes, strict=True)],
        "layout": layout_column(looks[kind]),
    }
    return pa.table(columns).cast(pa.schema([schemas.FINGERPRINTS.arrow_schema.field(name) for name in columns]))


def _hashed(fingerprints: pa.Table) -> pa.Table:
    rows = fingerprints.filter(pc.is_valid(fingerprints["phash"]))
    return rows.rename_columns([*INPUT.names, "layout"])


def _given(frames: pa.Table, old: pa.Table, params: DuplicateParams, streams: list[str]) -> TableInput:
    scopes = dict.fromkeys([WORKSPACE] if params.scope == "workspace" else streams, 0)
    above = {"fingerprints": _Rows(frames)}
    return TableInput(
        scopes, streams, frozenset(streams), {"duplicates": params}, above, _Rows(old), lambda *_: pa.table({})
    )


def _sorted(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(rows).sort(schemas.FRAME_KEY)


@pytest.mark.parametrize("scope", ["workspace", "stream"])
@pytest.mark.parametrize("verify", ["layout", "none"])
@pytest.mark.parametrize("seed", range(6))
def test_new_frames_are_grouped_as_with_all_rows(scope: str, verify: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params = DuplicateParams(hamming=4, scope=scope, verify=verify)  # type: ignore[arg-type]
    first = _fingerprints(rng, ["a", "b", "gone"], 40)
    old = group_frames(_hashed(first), schemas.DUPLICATES.file_schema.empty_table(), params).added
    # Of the frames of before a few are missing, a few have changed, and a stream is new.
    second = first.filter(pa.array(rng.random(first.num_rows) < 0.95))
    second = second.filter(pc.not_equal(second["stream_id"], "gone"))
    is_changed = rng.random(second.num_rows) < 0.05
    is_changed[pc.index(pc.is_valid(second["phash"]), True).as_py()] = True
    changed = np.where(is_changed, 77 + np.arange(second.num_rows), second["input_id"])
    second = second.set_column(2, second.schema.field(2), pa.array(changed))
    second = pa.concat_tables([second, _fingerprints(rng, ["c"], 10)]) if seed % 2 else second
    streams = sorted({*second["stream_id"].to_pylist()})
    before = old if scope == "workspace" else old.filter(pc.is_in(old["stream_id"], pa.array(streams)))
    wanted = group_frames(_hashed(second), before, params)
    found = compute_duplicates(_given(second, old, params, streams))
    assert wanted.added.num_rows
    assert found.removed is not None
    assert _sorted(found.added).equals(_sorted(wanted.added))
    assert _sorted(found.removed).equals(_sorted(wanted.removed))
    sizes = _hashed(second).group_by("stream_id").aggregate([([], "count_all")])
    counts = dict(zip(sizes["stream_id"].to_pylist(), sizes["count_all"].to_pylist(), strict=True))
    n_rows = {name: counts.get(name, 0) for name in streams}
    assert found.n_rows == ({WORKSPACE: sum(n_rows.values())} if scope == "workspace" else n_rows)


def test_members_of_groups_that_no_new_frame_touches_are_not_read() -> None:
    rng = np.random.default_rng(0)
    first = _fingerprints(rng, ["a"], 400)
    params = DuplicateParams()
    old = group_frames(_hashed(first), schemas.DUPLICATES.file_schema.empty_table(), params).added
    n_groups = len(pc.unique(old["group_id"]))
    unchanged = concerned(_Rows(first), _Rows(old), ["a"], None, ("layout",))
    assert unchanged.frames.num_rows == unchanged.before.num_rows == 0
    last = first.slice(399).set_column(1, first.schema.field(1), pa.array([5000]))
    last = last.set_column(2, first.schema.field(2), pa.array([5])).set_column(3, "phash", pa.array(["0" * 16]))
    more = pa.concat_tables([first, last.cast(first.schema)])
    found = concerned(_Rows(more), _Rows(old), ["a"], None, ("layout",))
    same_bytes = int(np.sum(first["input_id"].to_numpy() == 5))
    assert found.frames.num_rows <= n_groups + same_bytes + 2
    assert found.n_frames == {"a": old.num_rows + 1}


def test_without_any_frames_all_rows_go() -> None:
    first = _fingerprints(np.random.default_rng(0), ["a"], 30)
    params = DuplicateParams()
    old = group_frames(_hashed(first), schemas.DUPLICATES.file_schema.empty_table(), params).added
    found = compute_duplicates(_given(first.slice(0, 0), old, params, []))
    assert found.added.num_rows == 0
    assert found.removed is not None
    assert found.removed.num_rows == old.num_rows
