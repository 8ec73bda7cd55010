from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

import schemas
from jobs import merge
from jobs.parts import write_part
from jobs.store import DataFile

Key = tuple[str, int]
KEYS = st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), min_size=1, max_size=60).map(sorted)
CUTS = st.lists(st.floats(0, 1), max_size=8)


@contextmanager
def files_of(keys: Sequence[Key], cuts: Sequence[float]) -> Iterator[tuple[Path, list[DataFile]]]:
    """Write fingerprints of frames, in the order given, into files cut where it is said."""
    borders = sorted({0, len(keys), *(int(cut * len(keys)) for cut in cuts)})
    root = Path(tempfile.mkdtemp())
    try:
        files = [written(root, keys[first:last]) for first, last in pairwise(borders)]
        yield root / "fingerprints", sorted(files, key=lambda f: (f.low_stream or "", f.low_idx or 0))
    finally:
        shutil.rmtree(root)


def written(root: Path, keys: Sequence[Key]) -> DataFile:
    streams, numbers = zip(*keys, strict=True)
    columns = {"input_id": numbers, "stream_id": streams, "frame_idx": numbers, "phash": ["0" * 16] * len(keys)}
    part = write_part(root, schemas.FINGERPRINTS, pa.table(columns, schema=schemas.FINGERPRINTS.file_schema))
    bounds = (part.low["stream_id"], part.high["stream_id"], part.low["frame_idx"], part.high["frame_idx"])
    return DataFile(part.path, part.size_bytes, part.n_rows, None, *bounds)


def merged(folder: Path, files: Sequence[DataFile]) -> tuple[list[Key], int]:
    """Return the keys in order, and the most rows of one piece."""
    with mock.patch.object(merge, "_ROWS_AT_ONCE", 4):
        pieces = list(merge.rows_in_order(folder, schemas.FINGERPRINTS, files))
    rows = pa.concat_tables(pieces)
    keys = list(zip(rows["stream_id"].to_pylist(), rows["frame_idx"].to_pylist(), strict=True))
    return keys, max(piece.num_rows for piece in pieces)


@given(KEYS, CUTS, st.randoms(use_true_random=False))
def test_any_rows_in_any_files_come_out_in_one_order(keys: list[Key], cuts: list[float], random: Any) -> None:
    shuffled = list(keys)
    random.shuffle(shuffled)
    with files_of(shuffled, cuts) as (folder, files):
        assert merged(folder, files)[0] == keys


def test_files_of_one_stream_are_held_few_at_a_time() -> None:
    keys = [("a", number) for number in range(60)]
    with files_of(keys, [n / 20 for n in range(20)]) as (folder, files):
        assert len(files) == 20
        assert merged(folder, files) == (keys, 6)


def test_files_of_several_streams_are_held_few_at_a_time() -> None:
    keys = [(stream, number) for stream in "abc" for number in range(20)]
    with files_of(keys, [n / 15 for n in range(15)]) as (folder, files):
        assert merged(folder, files) == (keys, 4)
