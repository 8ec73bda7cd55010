from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pytest

import schemas
from jobs.core.errors import BrokenTableError
from jobs.storage.paths import LocalPath, place
from jobs.storage.store import Store
from jobs.storage.written_versions import FOLDER, Written, WrittenVersions


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(place(tmp_path))
    made.create_tables([schemas.HEADS, schemas.SCOPES])
    return made


def move(store: Store, stream: str, key: str) -> None:
    row = {"stream_id": stream, "stage": "idle", "stage_key": key, "job_id": "j", "moved_ns": 1}
    store.upsert(schemas.HEADS, pa.Table.from_pylist([row], schemas.HEADS.arrow_schema), "job")


def on_record(root: Path) -> Written:
    found = WrittenVersions(place(root)).of("heads")
    assert found is not None
    return found


def test_each_version_is_recorded_after_its_commit_in_place_of_the_one_before(store: Store, tmp_path: Path) -> None:
    assert on_record(tmp_path) == (0, 0, "0" * 16)
    move(store, "a", "1")
    move(store, "b", "1")
    state = store.open(schemas.HEADS).state
    assert (state.version, state.n_rows) == (2, 2)
    names = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert names == {f"heads.2.2.{state.files_hash:016x}", "scopes.0.0.0000000000000000"}


def test_a_writer_that_is_killed_before_it_records_leaves_a_healthy_workspace(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(store, "a", "1")
    with monkeypatch.context() as killed:
        killed.setattr(WrittenVersions, "add", lambda *_: None)
        move(store, "b", "1")
    assert on_record(tmp_path).version == 1
    other = Store(place(tmp_path))
    assert other.read(schemas.HEADS).num_rows == 2
    move(other, "c", "1")
    assert on_record(tmp_path).version == 3


def test_a_full_disk_fails_no_commit(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: LocalPath) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalPath, "touch", full)
    move(store, "a", "1")
    assert Store(place(tmp_path)).read(schemas.HEADS).num_rows == 1


def test_a_late_writer_does_not_lower_the_recorded_version(store: Store, tmp_path: Path) -> None:
    move(store, "a", "1")
    late, state = WrittenVersions(place(tmp_path)), store.open(schemas.HEADS).state
    late.load()
    move(store, "b", "1")
    # It has committed version 1 before, and records it only now.
    late.add("heads", state._replace(version=1))
    assert on_record(tmp_path).version == 2
    late.add("heads", store.open(schemas.HEADS).state._replace(version=1, n_rows=9))
    assert on_record(tmp_path).version == 2


def test_a_folder_that_was_deleted_is_not_brought_back(tmp_path: Path) -> None:
    root = tmp_path / "gone"
    WrittenVersions(place(root)).add("heads", Store(place(tmp_path)).open(schemas.HEADS).state._replace(version=1))
    assert not root.exists()


def test_many_writers_and_readers_raise_no_alarm(store: Store, tmp_path: Path) -> None:
    over = Event()
    wrong: list[BaseException] = []

    def write(stream: str) -> None:
        mine = Store(place(tmp_path))
        for n in range(12):
            move(mine, stream, str(n))

    def read() -> None:
        while not over.is_set():
            try:
                Store(place(tmp_path)).read(schemas.HEADS)
            except FileNotFoundError:
                # The version that was opened lost a file to no one: files are only ever added.
                raise
            except BrokenTableError as error:
                wrong.append(error)

    reader = Thread(target=read)
    writers = [Thread(target=write, args=(stream,)) for stream in "abc"]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    assert wrong == []
    now = Store(place(tmp_path)).open(schemas.HEADS)
    assert (now.version, now.n_rows) == (36, 3)
    assert on_record(tmp_path) == Written.of(now.state)


def test_a_table_with_other_rows_at_the_recorded_version_is_no_version_of_it(store: Store, tmp_path: Path) -> None:
    move(store, "a", "1")
    other = tmp_path / "other"
    other.mkdir()
    theirs = Store(place(other))
    theirs.create_tables([schemas.HEADS])
    move(theirs, "b", "1")
    (tmp_path / "heads").rename(tmp_path / ".mine")
    (other / "heads").rename(tmp_path / "heads")
    with pytest.raises(
        BrokenTableError, match="at version 1 now, and was recorded at version 1 with 1 row, another one"
    ):
        Store(place(tmp_path)).read(schemas.HEADS)
