from __future__ import annotations

from pathlib import Path

import pytest

from jobs.core.errors import UserError
from jobs.ingest.catalogue import IngestOverrides, catalogue
from jobs.ingest.object_tree import PrefixTree
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.paths import ObjectPath, place
from jobs.storage.store import Store
from tests import s3
from tests.helpers import scenery, write_clip
from transforms.frames.numbering import IngestParams
from transforms.io import object_store


def listed(uri: str, tmp_path: Path, **params: object) -> list[StreamFiles]:
    return catalogue([uri], IngestParams(**params), IngestOverrides(), Store(place(tmp_path)))  # type: ignore[arg-type]


def test_streams_are_found_below_a_prefix(bucket: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "in" / "b" / "gate.mp4", scenery(3))
    s3.upload(tmp_path / "in", f"{bucket}/in")
    for name in ("a/image_2.jpg", "a/image_10.jpg", "a/notes.txt", "b/deep/7.png", ".hidden/1.jpg", "image.jpg"):
        object_store.put(f"{bucket}/in/{name}", name.encode())
    object_store.put(f"{bucket}/in-other/image_1.jpg", b"x")
    found = {stream.stream_id: stream for stream in listed(f"{bucket}/in/", tmp_path)}
    assert list(found) == ["a", "b/deep", "b/gate"]
    assert found["a"].uri == f"{bucket}/in/a"
    assert found["a"].frame_idx.tolist() == [2, 10]
    rows = found["a"].listing().to_pylist()
    assert [row["uri"] for row in rows] == [f"{bucket}/in/a/image_2.jpg", f"{bucket}/in/a/image_10.jpg"]
    entry = object_store.head(rows[0]["uri"])
    assert (rows[0]["size_bytes"], rows[0]["mtime_ns"]) == (entry.size_bytes, entry.mtime_ns)
    assert found["a"].row["n_ignored"] == 1
    assert (found["b/gate"].row["kind"], found["b/gate"].n_frames) == ("video", 3)
    (clip,) = listed(f"{bucket}/in/b/gate.mp4", tmp_path)
    assert (clip.stream_id, clip.uri) == ("gate", f"{bucket}/in/b/gate.mp4")


def test_a_prefix_with_frames_and_more_below_is_refused(bucket: str, tmp_path: Path) -> None:
    for name in ("1.jpg", "thumbs/1.jpg"):
        object_store.put(f"{bucket}/in/{name}", b"x")
    with pytest.raises(UserError, match=r"holds frames and below it there are more, such as thumbs"):
        listed(f"{bucket}/in", tmp_path)
    (stream,) = listed(f"{bucket}/in", tmp_path, nested="skip")
    assert stream.n_frames == 1
    with pytest.raises(UserError, match=r"holds no frames; .* found 2 others, such as '1.jpg'"):
        listed(f"{bucket}/in", tmp_path, glob="none*")


def test_a_listing_of_several_pages_is_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_PER_PAGE", 3)
    for number in range(9):
        object_store.put(f"{bucket}/in/image_{number}.jpg", b"x")
    tree = PrefixTree(ObjectPath(f"{bucket}/in"))
    assert tree.names() == [f"image_{number}.jpg" for number in range(9)]
    assert len(tree.scan(ObjectPath(f"{bucket}/in")).names) == 9
