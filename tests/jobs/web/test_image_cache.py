"""The cache of images on disk: the least used go first, and nothing half written is ever given."""

from __future__ import annotations

import os
from pathlib import Path

from jobs.web.image_cache import ImageCache


def _jpeg(size: int) -> bytes:
    return b"\xff\xd8" + bytes(size - 4) + b"\xff\xd9"


def test_the_least_used_are_deleted_first(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "images", most_bytes=1000)
    for name in ("aa1", "bb2", "cc3"):
        cache.put(name, _jpeg(300))
    assert cache.get("aa1") == _jpeg(300)
    # 1200 bytes are too many: two go, so that a tenth is free, and the one that was used just now stays.
    cache.put("dd4", _jpeg(300))
    assert [name for name in ("aa1", "bb2", "cc3", "dd4") if cache.get(name)] == ["aa1", "cc3", "dd4"]
    assert cache.n_bytes == 900
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.jpg")) == 900


def test_a_restart_knows_what_was_used_last(tmp_path: Path) -> None:
    first = ImageCache(tmp_path / "images")
    for age, name in ((300, "aa1"), (200, "bb2"), (100, "cc3")):
        first.put(name, _jpeg(300))
        os.utime(tmp_path / "images" / name[:2] / f"{name}.jpg", ns=(10**18 - age, 10**18 - age))
    again = ImageCache(tmp_path / "images", most_bytes=1000)
    again.put("dd4", _jpeg(300))
    assert [name for name in ("aa1", "bb2", "cc3", "dd4") if again.get(name)] == ["bb2", "cc3", "dd4"]


def test_what_a_killed_process_left_is_not_given(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    ImageCache(folder).put("aa1", _jpeg(300))
    (folder / "aa" / "aa2.jpg.1234.partial").write_bytes(b"\xff\xd8")
    (folder / "aa" / "aa3.jpg").write_bytes(_jpeg(300)[:200])
    (folder / "aa" / "aa4.jpg").write_bytes(b"")
    again = ImageCache(folder)
    assert [again.get(name) is not None for name in ("aa1", "aa2", "aa3", "aa4", "aa5")] == [True, *[False] * 4]
    assert again.n_bytes == 300
    assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == ["aa1.jpg"]


def test_a_place_that_cannot_be_written_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    cache = ImageCache(tmp_path / "images")
    cache.put("aa1", _jpeg(300))
    assert cache.get("aa1") is None
    assert (tmp_path / "images").read_text() == "a file"
