from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from jobs.storage import merge
from jobs.storage.data_files import write_part
from jobs.storage.paths import place
from jobs.storage.store import DataFile
from tests.helpers import table_of

Key = tuple[str, int]
KEYS = st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1, max_size=60).map(sorted)
CUTS = st.lists(st.floats(0, 1), max_size=8)


@contextmanager
def files_of(keys: Sequence[Key], cuts: Sequence[float]) -> Iterator[tuple[Path, list[DataFile]]]:
    """Write fingerprints of frames, in the order given, into files of the given sizes."""
    borders = sorted({0, len(keys), *(int(cut * len(keys)) for cut in cuts)})
    root = Path(tempfile.mkdtemp())
    try:
        files = [written(root, keys[first:last]) for first, last in pairwise(borders)]
        yield root / "fingerprints", sorted(files, key=lambda f: (f.low_stream or "", f.low_idx or 0))
    finally:
        shutil.rmtree(root)


def written(root: Path, keys: Sequence[Key]) -> DataFile:
    streams, numbers = zip(*keys, strict=True)
    columns = {
        "input_id": numbers,
        "stream_id": streams,
        "frame_idx": numbers,
        "phash": ["0" * 16] * len(keys),
        "layout": [bytes(64)] * len(keys),
    }
    part = write_part(place(root), schemas.FINGERPRINTS, table_of(columns, schemas.FINGERPRINTS.file_schema))
    bounds = (part.low["stream_id"], part.high["stream_id"], part.low["frame_idx"], part.high["frame_idx"])
    return DataFile(part.path, part.size_bytes, part.n_rows, None, *bounds)


def merged(folder: Path, files: Sequence[DataFile]) -> tuple[list[Key], int]:
    """Return the keys in order, and the most rows of one piece."""
    with mock.patch.object(merge, "_ROWS_AT_ONCE", 4):
        pieces = list(merge.rows_in_order(place(folder), schemas.FINGERPRINTS, files))
    rows = pa.concat_tables(pieces)
    keys = list(zip(rows["stream_id"].to_pylist(), rows["frame_idx"].to_pylist(), strict=True))
    return keys, max(piece.num_rows for piece in pieces)


@settings(deadline=None)
@given(KEYS, CUTS, st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=6))
def test_any_rows_in_any_files_come_out_in_one_order(
    keys: list[Key], cuts: list[float], swaps: list[tuple[int, int]]
) -> None:
    strewn = list(keys)
    for swap in swaps:
        one, other = (at % len(keys) for at in swap)
        strewn[one], strewn[other] = strewn[other], strewn[one]
    with files_of(strewn, cuts) as (folder, files):
        assert merged(folder, files)[0] == keys


@pytest.mark.parametrize("n_files", [15, 9])
@pytest.mark.parametrize("streams", ["a", "abc"])
def test_files_of_consecutive_frames_are_held_few_at_a_time(streams: str, n_files: int) -> None:
    keys = [(stream, number) for stream in streams for number in range(60 // len(streams))]
    with files_of(keys, [n / n_files for n in range(n_files)]) as (folder, files):
        assert len(files) == n_files
        found, most = merged(folder, files)
    assert found == keys
    # At most one piece's worth next to the file that is read, and the one that reaches into the next stream.
    assert most <= 3 + 2 * max(f.n_rows for f in files)


def test_a_table_that_is_not_ordered_by_stream_is_sorted_as_a_whole(tmp_path: Path) -> None:
    made: dict[str, object] = {"manifest": "{}", "note": None, "job_id": "j", "created_ns": 0}
    rows = pa.Table.from_pylist([{"name": name, **made} for name in ("b", "a")], schemas.RELEASES.arrow_schema)
    parts = [write_part(place(tmp_path), schemas.RELEASES, rows.slice(at, 1)) for at in (0, 1)]
    files = [DataFile(p.path, p.size_bytes, p.n_rows, None, None, None, None, None) for p in parts]
    found = pa.concat_tables(merge.rows_in_order(place(tmp_path / "releases"), schemas.RELEASES, files))
    assert found["name"].to_pylist() == ["a", "b"]
