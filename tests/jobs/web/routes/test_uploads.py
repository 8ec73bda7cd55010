from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
from blake3 import blake3
from starlette.testclient import TestClient

from jobs.runs.run_options import RunOptions
from jobs.storage.workspace import Workspace
from jobs.uploads.upload_store import UploadStore
from jobs.web.settings import FOLDER
from tests.helpers import go, noise, scenery, write_clip, write_pictures
from tests.waiting import wait_until
from tests.web_server import API, WebServer, lines, web_server

pytestmark = pytest.mark.process

TUS = {"Tus-Resumable": "1.0.0"}
BODY = {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    Workspace.at(tmp_path / "site").create()
    return tmp_path / "site"


@pytest.fixture
def server(place: Path) -> Iterator[WebServer]:
    with web_server(place) as made:
        yield made


@contextmanager
def restarted(place: Path, **options: Any) -> Iterator[WebServer]:
    """Serve a workspace once more, with accounts of its own."""
    shutil.rmtree(place / FOLDER)
    with web_server(place, **options) as made:
        yield made


def jpeg(seed: int = 0) -> bytes:
    return cv2.imencode(".jpg", noise(seed))[1].tobytes()


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def begin(client: TestClient, server: WebServer, name: str, length: int, **about: str) -> Any:
    said = ",".join(f"{key} {text(value)}" for key, value in {"filename": name, **about}.items())
    headers = TUS | {"Upload-Length": str(length), "Upload-Metadata": said}
    return client.post(f"{server.project}/uploads", headers=headers)


def address(server: WebServer, answer: Any) -> str:
    assert answer.status_code == 201, answer.text
    return server.project.partition("/api/")[0] + answer.headers["location"]


def patch(client: TestClient, at: str, offset: int, data: Any, **headers: str) -> Any:
    return client.patch(at, headers=TUS | BODY | {"Upload-Offset": str(offset), **headers}, content=data)


def offset_of(client: TestClient, at: str) -> int:
    return int(client.head(at, headers=TUS).headers["upload-offset"])


def settled(client: TestClient, at: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(at).json()
        return found if found["state"] in {"ready", "rejected"} else None

    found = wait_until(look)
    assert found is not None
    return found


def send(client: TestClient, server: WebServer, name: str, data: bytes) -> dict[str, Any]:
    at = address(server, begin(client, server, name, len(data)))
    assert patch(client, at, 0, data).status_code == 204
    return settled(client, at)


def test_a_file_comes_in_pieces_and_is_found_by_its_name(server: WebServer, place: Path) -> None:
    data = jpeg()
    with server.admin as client:
        made = begin(client, server, "seq/image_0.jpg", len(data), fingerprint="f1")
        at = address(server, made)
        assert made.headers["upload-offset"] == "0"
        assert "upload-expires" in made.headers
        assert patch(client, at, 0, data[:1000]).headers["upload-offset"] == "1000"
        head = client.head(at, headers=TUS)
        assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("1000", str(len(data)))
        [listed] = client.get(f"{server.project}/uploads").json()["uploads"]
        assert (listed["state"], listed["offset"], listed["fingerprint"]) == ("receiving", 1000, "f1")
        assert patch(client, at, 1000, data[1000:]).status_code == 204
        found = settled(client, at)
        assert found["blake3"] == blake3(data).hexdigest()
        assert found["found"] == {
            "size_bytes": len(data),
            "kind": "image",
            "format": "jpeg",
            "width": 160,
            "height": 90,
        }
        assert found["input"] == "upload:seq/image_0.jpg"
        assert (place / "uploads/files/seq/image_0.jpg").read_bytes() == data
        names = [entry["action"] for entry in client.get(f"{API}/audit").json()["entries"]]
        assert names[:2] == ["upload.receive", "upload.add"]


def test_offsets_that_are_not_the_end_are_refused_with_where_it_is(server: WebServer) -> None:
    with server.admin as client:
        at = address(server, begin(client, server, "a.jpg", 100))
        assert patch(client, at, 0, b"x" * 10).status_code == 204
        for wrong in (0, 9, 11, 100):
            answer = patch(client, at, wrong, b"y" * 10)
            assert (answer.status_code, answer.headers["upload-offset"]) == (409, "10")
        answer = patch(client, at, 10, b"y" * 91)
        assert (answer.status_code, lines(answer)) == (413, ["expected 100 bytes in all, found more"])
        assert offset_of(client, at) == 10


def test_a_wrong_checksum_keeps_nothing_of_its_request(server: WebServer) -> None:
    data = jpeg()
    right = f"sha256 {base64.b64encode(hashlib.sha256(data[:500]).digest()).decode()}"
    with server.admin as client:
        at = address(server, begin(client, server, "a.jpg", len(data)))
        answer = patch(client, at, 0, data[1:501], **{"Upload-Checksum": right})
        assert answer.status_code == 460
        assert offset_of(client, at) == 0
        assert patch(client, at, 0, data[:500], **{"Upload-Checksum": right}).status_code == 204
        assert patch(client, at, 500, b"", **{"Upload-Checksum": "md5 x"}).status_code == 400
        assert patch(client, at, 500, data[500:]).status_code == 204
        assert settled(client, at)["blake3"] == blake3(data).hexdigest()


def test_bytes_may_come_with_the_beginning(server: WebServer) -> None:
    data = jpeg()
    with server.admin as client:
        headers = TUS | BODY | {"Upload-Length": str(len(data)), "Upload-Metadata": f"filename {text('a.jpg')}"}
        made = client.post(f"{server.project}/uploads", headers=headers, content=data)
        assert made.headers["upload-offset"] == str(len(data))
        assert settled(client, address(server, made))["state"] == "ready"


def test_equal_bytes_are_kept_once_and_names_alone_say_nothing(server: WebServer, place: Path) -> None:
    with server.admin as client:
        one = send(client, server, "one/image_0.jpg", jpeg(1))
        two = send(client, server, "two/image_0.jpg", jpeg(2))
        again = send(client, server, "three/image_0.jpg", jpeg(1))
        assert (one["already_there"], two["already_there"], again["already_there"]) == (False, False, True)
        assert (place / "uploads/files/three/image_0.jpg").samefile(place / "uploads/files/one/image_0.jpg")
        assert len(list((place / "uploads/objects").rglob("*.jpg"))) == 2
        # The same file under the same name is no problem, another one is.
        assert send(client, server, "one/image_0.jpg", jpeg(1))["state"] == "ready"
        answer = begin(client, server, "one/image_0.jpg", len(jpeg(1)) + 1)
        assert answer.status_code == 409
        assert "another file of this name is here" in lines(answer)[0]
        same_size = jpeg(1)[:-2] + b"\0\0"
        other = send(client, server, "one/image_0.jpg", same_size)
        assert other["state"] == "rejected"
        assert (place / "uploads/files/one/image_0.jpg").read_bytes() == jpeg(1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../a.jpg", "without the parts . and .."),
        ("/etc/a.jpg", "without empty parts"),
        ("a//b.jpg", "without empty parts"),
        ("a/../../b.jpg", "without the parts . and .."),
        ("b\\a.jpg", "without \\"),
        (f"{'n' * 300}.jpg", "at most 100 characters, found one of 304"),
        ("evil\u202egpj.mp4", "U+202E"),
        ("a\nb.jpg", "U+000A"),
        (".hidden.jpg", "does not begin with a dot"),
        ("a.jpg ", "without spaces around it"),
        ("a#pts=1.mp4", "without #"),
        ("a.zip", "archives are not unpacked"),
        ("a.exe", "expected a clip, a recording or an image"),
        ("a", "expected a clip, a recording or an image"),
        (f"{'d/' * 30}a.jpg", "at most 12 folders"),
    ],
)
def test_hostile_names_are_refused_in_one_line(server: WebServer, place: Path, name: str, why: str) -> None:
    with server.admin as client:
        answer = begin(client, server, name, 10)
        assert answer.status_code == 400
        [line] = lines(answer)
        assert why in line
        assert line.isprintable()
        assert not list(place.rglob("record.json"))


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.mp4", b"PK\x03\x04" + b"\0" * 5000, "found a zip archive"),
        ("a.mp4", b"#EXTM3U\n#EXTINF:10,\n/etc/hostname.ts\n", "found a text"),
        ("a.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "found a text"),
        ("a.mp4", b"\0" * 5000, "expected a video clip, found something else"),
        ("a.mp4", jpeg(), "found an image"),
        ("a.jpg", b"\xff\xd8\xff" + b"\0" * 5000, "expected an image"),
        ("a.mcap", b"\x89MCAP0\r\n" + b"\0" * 5000, ""),
    ],
)
def test_what_cannot_be_read_is_rejected_with_why(
    server: WebServer, place: Path, name: str, data: bytes, why: str
) -> None:
    with server.admin as client:
        found = send(client, server, name, data)
        assert found["state"] == "rejected"
        assert why in found["why"][0]
        assert found["input"] is None
        assert not (place / "uploads/files" / name).exists()


def test_an_image_that_claims_to_be_huge_is_not_decoded(server: WebServer) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">II", 60_000, 60_000) + b"\x08\x02\0\0\0"
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    with server.admin as client:
        found = send(client, server, "a.png", data)
        assert found["state"] == "rejected"
        assert "megapixels" in found["why"][0]


def test_disk_and_quota_are_kept_before_a_byte_is_sent(place: Path) -> None:
    with web_server(place, upload_quota=1_000_000) as server, server.admin as client:
        answer = begin(client, server, "a.mp4", 1 << 45)
        assert answer.status_code == 507
        at = address(server, begin(client, server, "a.mp4", 600_000))
        # What was promised counts, sent or not.
        answer = begin(client, server, "b.mp4", 600_000)
        assert answer.status_code == 507
        assert "at most 1,000,000 bytes of uploads" in lines(answer)[0]
        assert client.delete(at).status_code == 204
        assert begin(client, server, "b.mp4", 600_000).status_code == 201
    with restarted(place) as server, server.admin as client:
        answer = begin(client, server, "c.mp4", 1 << 45)
        assert answer.status_code == 507
        assert "the disk has room for" in lines(answer)[0]


def test_uploads_are_ones_own_and_admins_of_the_project_see_all(server: WebServer) -> None:
    ann = server.client(server.person("ann", "annotator"))
    bob = server.client(server.person("bob", "annotator"))
    boss = server.client(server.person("boss", "admin"))
    with server.admin, ann, bob, boss:
        at = address(server, begin(ann, server, "a.jpg", 100, fingerprint="f1"))
        assert bob.get(at).status_code == bob.head(at, headers=TUS).status_code == bob.delete(at).status_code == 404
        assert patch(bob, at, 0, b"x").status_code == 404
        assert bob.get(f"{server.project}/uploads").json()["uploads"] == []
        [seen] = boss.get(f"{server.project}/uploads").json()["uploads"]
        assert (seen["owner"], seen["is_mine"], seen["fingerprint"]) == ("ann", False, None)
        assert ann.delete(at).status_code == 204
        assert ann.get(at).status_code == 404


def test_a_client_of_another_protocol_is_refused(server: WebServer) -> None:
    with server.admin as client:
        assert client.post(f"{server.project}/uploads", content=b"x").status_code == 412
        options = client.options(f"{server.project}/uploads")
        assert options.headers["tus-version"] == "1.0.0"
        at = address(server, begin(client, server, "a.jpg", 100))
        wrong = client.patch(at, headers=TUS | {"Upload-Offset": "0", "Content-Type": "image/jpeg"}, content=b"x")
        assert wrong.status_code == 415
        bad = client.post(f"{server.project}/uploads", headers=TUS | {"Upload-Length": "-1", "Upload-Metadata": "f x"})
        assert bad.status_code == 400


def test_what_a_server_left_in_the_middle_is_finished_by_the_next(place: Path) -> None:
    data = jpeg()
    with web_server(place) as server, server.admin as client:
        whole = address(server, begin(client, server, "whole.jpg", len(data)))
        part = address(server, begin(client, server, "part.jpg", len(data)))
        checked = address(server, begin(client, server, "checked.jpg", len(data)))
        patch(client, part, 0, data[:700])
        patch(client, checked, 0, data[:300])
    records = place / "uploads/records"
    # As a process leaves it that is killed after the last byte, or in a request with a checksum, or in the first write.
    (records / whole.rpartition("/")[2] / "data.jpg").write_bytes(data)
    with open(records / checked.rpartition("/")[2] / "data.jpg", "ab") as file:
        file.write(b"unchecked")
    (records / checked.rpartition("/")[2] / "unchecked").write_text("300")
    (records / ("0" * 32)).mkdir()
    with restarted(place) as server, server.admin as client:
        assert settled(client, whole)["blake3"] == blake3(data).hexdigest()
        assert offset_of(client, part) == 700
        assert offset_of(client, checked) == 300
        assert patch(client, part, 700, data[700:]).status_code == 204
        assert settled(client, part)["blake3"] == blake3(data).hexdigest()
        assert not (records / ("0" * 32)).exists()


def test_unfinished_uploads_are_given_up_after_a_week(place: Path) -> None:
    with web_server(place) as server, server.admin as client:
        old = address(server, begin(client, server, "old.jpg", 100)).rpartition("/")[2]
        address(server, begin(client, server, "new.jpg", 100))
    os.utime(place / "uploads/records" / old / "data.jpg", (1, 1))
    assert [upload.path for upload in UploadStore(place).expired()] == ["old.jpg"]
    with restarted(place) as server, server.admin as client:
        wait_until(lambda: len(client.get(f"{server.project}/uploads").json()["uploads"]) == 1)


def test_frames_of_an_upload_are_measured_and_then_cannot_be_deleted(place: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "match.mp4", scenery(12))
    with web_server(place) as server, server.admin as client:
        found = send(client, server, "match.mp4", clip.read_bytes())
        assert found["found"]["kind"] == "clip"
        assert (found["found"]["width"], found["found"]["codec"]) == (160, "h264")
        lead = server.client(server.person("lead", "admin"))
        body = {"options": RunOptions(inputs=(found["input"],)).model_dump(mode="json")}
        planned = lead.post(f"{server.project}/plan", json=body)
        assert planned.json()["streams"] == [{"stream_id": "match", "frames": 12}]
        missing = lead.post(f"{server.project}/plan", json={"options": {"inputs": ["upload:../winnow.json"]}})
        assert missing.status_code == 400
        go(Workspace.at(place), place / "uploads/files/match.mp4")
        answer = client.delete(f"{server.project}/uploads/{found['upload_id']}")
        assert answer.status_code == 409
        assert lines(answer) == ["match.mp4 is a stream of this project; its frames would lose their images"]


def test_data_of_the_server_is_registered_below_folders_that_are_allowed(place: Path, tmp_path: Path) -> None:
    allowed, other = tmp_path / "nas", tmp_path / "private"
    write_pictures(allowed / "cam1", [noise(n) for n in range(3)])
    write_pictures(other / "cam", [noise(n) for n in range(3)])
    (allowed / "out").symlink_to(other)
    with web_server(place, allowed_inputs=(allowed,)) as server, server.admin as client:
        at = f"{server.project}/uploads/register"

        def register(path: Path | str, name: str | None = None, by: TestClient = client) -> Any:
            return by.post(at, json={"path": str(path), "name": name})

        made = register(allowed / "cam1", "north")
        assert made.status_code == 201
        assert made.json()["input"] == "upload:north"
        assert made.json()["found"] == {"kind": "folder", "streams": 1}
        for wrong in (other / "cam", allowed / ".." / "private" / "cam", allowed / "out" / "cam", "/etc", "cam1"):
            assert register(wrong).status_code == 400
        assert register(allowed / "no-such").status_code == 400
        assert register(allowed / "cam1", "../x").status_code == 400
        assert register(allowed / "cam1", "north").status_code == 201
        assert register(allowed, "north").status_code == 409
        assert register(allowed / "cam1", by=server.client(server.person("rev", "reviewer"))).status_code == 403
        body = {"options": {"inputs": ["upload:north"]}}
        assert client.post(f"{server.project}/plan", json=body).json()["frames"] == 3
        assert client.delete(f"{server.project}/uploads/{made.json()['upload_id']}").status_code == 204
        assert len(list((allowed / "cam1").iterdir())) == 3
    with restarted(place) as server, server.admin as client:
        answer = client.post(f"{server.project}/uploads/register", json={"path": str(allowed / "cam1")})
        assert "--allow-input" in lines(answer)[0]
