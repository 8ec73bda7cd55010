from __future__ import annotations

from pathlib import Path

import pytest

from jobs.datasets.atomic_publish import BROKEN_OFF, put_in_place, staged
from jobs.storage.paths import ObjectPath, place
from tests import s3
from transforms.io import object_store
from transforms.io.object_store import StorageError


def built(out: ObjectPath, names: str) -> None:
    with staged(out) as folder:
        for name in names:
            (folder / name).write_text(f"{name} of {names}")
        (folder / "manifest").write_text(names)
        put_in_place(folder, out, "manifest")
    assert not folder.exists()


def test_an_upload_that_breaks_off_is_seen_to_be_none(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ObjectPath(f"{bucket}/set")
    built(out, "abc")
    assert s3.keys(str(out)) == ["a", "b", "c", "manifest"]
    monkeypatch.setenv(object_store.RETRIES, "0")
    with s3.flaky(s3_server) as proxy:
        proxy.fault = lambda method, path, number: "throttle" if method == "PUT" and path.endswith("/d") else None
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        with pytest.raises(StorageError, match="503"):
            built(out, "bd")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert "manifest" not in s3.keys(str(out))
    assert (out / BROKEN_OFF).exists()
    built(out, "bd")
    assert s3.keys(str(out)) == ["b", "d", "manifest"]
    assert (out / "b").read() == b"b of bd"


def test_on_disk_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "set"
    for names in ("abc", "bd"):
        with staged(place(out)) as folder:
            assert folder.parent == tmp_path
            for name in names:
                (folder / name).touch()
            put_in_place(folder, place(out), "b")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b", "d", "set"]
