from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import schemas
from jobs.core.errors import BrokenTableError
from jobs.core.os_errors import damage_in
from jobs.storage import file_integrity
from jobs.storage.data_files import write_part
from jobs.storage.merge import rows_in_order
from jobs.storage.paths import place
from jobs.storage.store import Change, Snapshot, Store
from tests.helpers import table_of

TABLE = schemas.FINGERPRINTS
N = 20_000


def stored(root: Path) -> tuple[Path, Snapshot]:
    """Return a file of a table, whose values do not compress, and the table."""
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 1 << 62, N), ["a"] * N, range(N), ["0" * 16] * N, [rng.bytes(64) for _ in range(N)]]
    rows = dict(zip(TABLE.file_schema.names, values, strict=False))
    store = Store(place(root))
    store.create_tables([TABLE])
    part = write_part(store.root, TABLE, table_of(rows, TABLE.file_schema), {"stage_key": "k"})
    return root / TABLE.name / part.path, store.open(TABLE).commit(Change([part]), "job")


READERS: dict[str, Callable[[Snapshot], object]] = {
    "read": lambda snapshot: snapshot.read(None, "k"),
    "batches": lambda snapshot: list(snapshot.batches(["layout"], "k", None)),
    "dataset": lambda snapshot: snapshot.dataset().to_table(),
    "lazy": lambda snapshot: snapshot.lazy().collect(),
    "filtered": lambda snapshot: snapshot.lazy().filter(pl.col("layout") == b"").collect(),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_flipped_bit_of_a_large_file_is_found_by_the_checksum_of_its_page(reader: str, tmp_path: Path) -> None:
    file, snapshot = stored(tmp_path)
    data = file.read_bytes()
    assert len(data) > file_integrity._HASHED_BYTES
    READERS[reader](snapshot)
    for share in (0.3, 0.5, 0.7):
        flipped = bytearray(data)
        # All of this is in pages of `layout`, the last column.
        flipped[int(len(data) * (0.2 + 0.75 * share))] ^= 1
        file.write_bytes(flipped)
        with pytest.raises(Exception, match="CRC checksum verification failed") as caught:
            READERS[reader](snapshot)
        assert "winnow doctor --verify" in str(damage_in(caught.value))


def test_rewriting_rows_hashes_files_of_any_size(tmp_path: Path) -> None:
    file, snapshot = stored(tmp_path)
    data = bytearray(file.read_bytes())
    # A statistic in the footer, which no checksum covers.
    data[-2000] ^= 1
    file.write_bytes(data)
    with pytest.raises(BrokenTableError, match="its bytes do not have the hash in its name"):
        list(rows_in_order(snapshot.root / TABLE.name, TABLE, snapshot.files))


def test_a_file_of_another_program_has_no_hash_in_its_name(tmp_path: Path) -> None:
    name = "part-00001-5e2b7f0c-3a60-4bb0-9d35-1c1e9e8f4d11-c000.snappy.parquet"
    (tmp_path / name).write_bytes(b"x")
    file_integrity.check_files(place(tmp_path), {name: 1}, hash_all=True)
    with pytest.raises(BrokenTableError, match="it has 1 bytes, and was written with 2"):
        file_integrity.check_files(place(tmp_path), {name: 2})
    # Readers say what is not there.
    file_integrity.check_files(place(tmp_path), {"gone.parquet": 2})


def test_a_small_file_that_was_replaced_is_hashed_once_more(tmp_path: Path) -> None:
    store = Store(place(tmp_path))
    store.create_tables([schemas.HEADS])
    row = {"stream_id": "a", "stage": "idle", "stage_key": "1", "job_id": "j", "moved_ns": 1}
    store.upsert(schemas.HEADS, pa.Table.from_pylist([row], schemas.HEADS.arrow_schema), "job")
    assert store.read(schemas.HEADS).num_rows == 1
    (file,) = (tmp_path / "heads").glob("*.parquet")
    (tmp_path / "other").mkdir()
    other = write_part(place(tmp_path / "other"), schemas.HEADS, store.read(schemas.HEADS).slice(0, 0))
    file.write_bytes((tmp_path / "other" / "heads" / other.path).read_bytes())
    with pytest.raises(BrokenTableError, match="is not what was written"):
        store.read(schemas.HEADS)
