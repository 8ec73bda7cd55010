from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.storage import paths
from jobs.storage.paths import ObjectPath, Place, place


@pytest.fixture(params=["disk", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return place(tmp_path / "root")
    return ObjectPath(f"{request.getfixturevalue('bucket')}/root")


@pytest.mark.process
def test_files_are_written_atomically(root: Place) -> None:
    assert ((root / "a").status(), (root / "a").exists(), root.names()) == (None, False, [])
    with pytest.raises(FileNotFoundError):
        (root / "a").read()
    root.make_folder()
    (root / "a").write(b"0123456789")
    (root / "a").write(b"012345678")
    assert ((root / "a").read(), (root / "a").read(5)) == (b"012345678", b"5678")
    found = (root / "a").status()
    assert found is not None
    assert found.size_bytes == 9
    assert abs(found.mtime_s - time.time()) < 5
    assert abs(paths.now_s(root) - time.time()) < 5
    assert root.names() == ["a"]
    (root / "a").delete()
    (root / "a").delete()
    assert not (root / "a").exists()


@pytest.mark.process
def test_exclusive_creation_succeeds_for_the_first_writer(root: Place) -> None:
    assert (root / "below" / "1.json").create(b"mine")
    assert not (root / "below" / "1.json").create(b"theirs")
    assert (root / "below" / "1.json").read() == b"mine"
    assert (root / "below").names() == ["1.json"]


@pytest.mark.process
def test_files_and_folders_are_listed(root: Place) -> None:
    for name in ("jobs/a/1.json", "jobs/a/deep/2.json", "jobs/b/2.json", "jobs/.c/1.json", "jobs/d.txt"):
        (root / name).create(name.encode())
    assert (root / "jobs").names() == [".c", "a", "b", "d.txt"]
    assert (root / "jobs").folders() == ["a", "b"]
    assert {name: reported.size_bytes for name, reported in (root / "jobs").files().items()} == {"d.txt": 10}
    assert sorted((root / "jobs" / "a").files_below()) == ["1.json", "deep/2.json"]
    assert (root / "jobs").folders_with("1.json", "deep/2.json") in (["a"], [".c", "a"])
    assert (root / "jobs").folders_with("2.json") == ["b"]
    nowhere = root / "nowhere"
    assert (nowhere.names(), nowhere.folders(), nowhere.files()) == ([], [], {})
    assert (list(nowhere.files_below()), nowhere.folders_with("x")) == ([], [])
    (root / "jobs" / "a").delete_tree()
    nowhere.delete_tree()
    assert (root / "jobs").folders() == ["b"]


def test_a_place_in_a_bucket_has_the_parts_of_a_path() -> None:
    at = paths.place("s3://bucket/night/cam.1/image_7.jpg")
    assert isinstance(at, ObjectPath)
    assert (at.name, at.stem, at.suffix) == ("image_7.jpg", "image_7", ".jpg")
    assert at.parent == paths.place("s3://bucket/night/cam.1/")
    assert [str(p) for p in at.parents] == ["s3://bucket/night/cam.1", "s3://bucket/night", "s3://bucket"]
    assert at.relative_to(ObjectPath("s3://bucket/night")).as_posix() == "cam.1/image_7.jpg"
    assert at.parent / "image_7.jpg" == at
    assert paths.place("file:///data/x") == paths.LocalPath("/data/x")
    # Code that knows of disks alone must not take it for a path on one.
    with pytest.raises(TypeError, match="is not a path on a disk"):
        Path(at)
    with pytest.raises(UserError, match="--out s3://bucket/x: expected a folder on disk"):
        paths.folder_on_disk("s3://bucket/x", "--out")
