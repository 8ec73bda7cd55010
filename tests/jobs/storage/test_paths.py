from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.storage import paths
from jobs.storage.paths import ObjectPath, Place


@pytest.fixture(params=["disk", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return tmp_path / "root"
    return ObjectPath(f"{request.getfixturevalue('bucket')}/root")


@pytest.mark.process
def test_what_is_written_is_there_whole(root: Place) -> None:
    assert (paths.status(root / "a"), paths.exists(root / "a"), paths.names(root)) == (None, False, [])
    with pytest.raises(FileNotFoundError):
        paths.read(root / "a")
    paths.make(root)
    paths.write(root / "a", b"0123456789")
    paths.write(root / "a", b"012345678")
    assert (paths.read(root / "a"), paths.read(root / "a", 5)) == (b"012345678", b"5678")
    found = paths.status(root / "a")
    assert found is not None
    assert found.size_bytes == 9
    assert abs(found.mtime_s - time.time()) < 5
    assert abs(paths.now_s(root) - time.time()) < 5
    assert paths.names(root) == ["a"]
    paths.delete(root / "a")
    paths.delete(root / "a")
    assert not paths.exists(root / "a")


@pytest.mark.process
def test_who_creates_a_file_first_has_it(root: Place) -> None:
    assert paths.create(root / "below" / "1.json", b"mine")
    assert not paths.create(root / "below" / "1.json", b"theirs")
    assert paths.read(root / "below" / "1.json") == b"mine"
    assert paths.names(root / "below") == ["1.json"]


@pytest.mark.process
def test_files_and_folders_are_listed(root: Place) -> None:
    for name in ("jobs/a/1.json", "jobs/a/deep/2.json", "jobs/b/2.json", "jobs/.c/1.json", "jobs/d.txt"):
        paths.create(root / name, name.encode())
    assert paths.names(root / "jobs") == [".c", "a", "b", "d.txt"]
    assert paths.folders(root / "jobs") == ["a", "b"]
    assert {name: told.size_bytes for name, told in paths.files(root / "jobs").items()} == {"d.txt": 10}
    assert sorted(paths.below(root / "jobs" / "a")) == ["1.json", "deep/2.json"]
    assert paths.holding(root / "jobs", "1.json", "deep/2.json") in (["a"], [".c", "a"])
    assert paths.holding(root / "jobs", "2.json") == ["b"]
    nowhere = root / "nowhere"
    assert (paths.names(nowhere), paths.folders(nowhere), paths.files(nowhere)) == ([], [], {})
    assert (list(paths.below(nowhere)), paths.holding(nowhere, "x")) == ([], [])
    paths.delete_below(root / "jobs" / "a")
    paths.delete_below(nowhere)
    assert paths.folders(root / "jobs") == ["b"]


def test_a_place_in_a_bucket_has_the_parts_of_a_path() -> None:
    at = paths.place("s3://bucket/night/cam.1/image_7.jpg")
    assert isinstance(at, ObjectPath)
    assert (at.name, at.stem, at.suffix) == ("image_7.jpg", "image_7", ".jpg")
    assert at.parent == paths.place("s3://bucket/night/cam.1/")
    assert [str(p) for p in at.parents] == ["s3://bucket/night/cam.1", "s3://bucket/night", "s3://bucket"]
    assert at.relative_to(ObjectPath("s3://bucket/night")).as_posix() == "cam.1/image_7.jpg"
    assert at.parent / "image_7.jpg" == at
    assert paths.place("file:///data/x") == Path("/data/x")
    # Code that knows of disks alone must not take it for a path on one.
    with pytest.raises(TypeError, match="no place on a disk"):
        Path(at)
    with pytest.raises(UserError, match="--out s3://bucket/x: expected a folder on disk"):
        paths.folder_on_disk("s3://bucket/x", "--out")
