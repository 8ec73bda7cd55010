from __future__ import annotations

import io
import json
import tarfile

import pytest

from tests.transforms.formats.exports.material import frames, objects
from transforms.formats.exports import webdataset
from transforms.formats.exports.webdataset import shards


def read(name: str) -> bytes:
    return f"bytes of {name}".encode()


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive.getmembers():
            handle = archive.extractfile(member)
            assert handle is not None
            found[member.name] = handle.read()
    return found


def test_a_sample_is_an_image_and_its_metadata() -> None:
    files = dict(shards(frames(), ["train", "val", "test"], objects(), read))
    assert sorted(files) == ["train-000000.tar", "val-000000.tar"]
    train = members(files["train-000000.tar"])
    assert list(train) == ["000000001.jpg", "000000001.json", "000000002.jpg", "000000002.json"]
    assert train["000000001.jpg"] == b"bytes of images/train/a/f_1.jpg"
    document = json.loads(train["000000001.json"])
    assert (document["stream_id"], document["frame_idx"], document["content_hash"]) == ("a", 1, "aa")
    assert [o["category"] for o in document["objects"]] == ["cat", "person"]
    assert document["objects"][1]["bbox"] == [10, 5, 20, 10]
    assert json.loads(train["000000002.json"])["objects"] == []
    assert json.loads(members(files["val-000000.tar"])["000000003.json"])["objects"][0]["track_id"] == 4


def test_shards_have_a_limited_size_and_are_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "SHARD_FRAMES", 1)
    once, again = (list(shards(frames(), ["train"], objects(), read)) for _ in range(2))
    assert [name for name, _ in once] == ["train-000000.tar", "train-000001.tar"]
    assert once == again
