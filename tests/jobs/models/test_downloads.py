"""Downloads of weights from servers that do as they like."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.model_catalogue import catalogue
from jobs.core.errors import RunFailedError
from jobs.models import downloads, hub_downloads
from jobs.models.weights_store import pull
from tests.hub import standing_in
from tests.jobs.models.test_weight_folders import write
from tests.jobs.models.test_weights_store import DATA, SHA
from tests.peers import peer
from tests.waiting import PATIENCE_S

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(DATA) + DATA


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder that does not exist yet."""
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture(params=["named", "not named"])
def n_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """The size of the file by the catalogue, if that names one."""
    size = len(DATA) if request.param == "named" else None
    model = dataclasses.replace(catalogue()["yolox-nano"], sha256=SHA, size_bytes=size)
    monkeypatch.setitem(catalogue(), "yolox-nano", model)
    return size


def trickle(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def answer(made: socket.socket) -> None:
        made.sendall(head)
        while True:
            made.sendall(piece)
            time.sleep(0.02)

    return answer


def refusal(url: str) -> str:
    with pytest.raises(RunFailedError) as caught:
        pull("yolox-nano", url)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    "answer",
    [
        trickle(OK + b"Content-Length: 100000\r\n\r\n", b"x"),
        trickle(OK + b"\r\n", b"x"),
        trickle(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        trickle(OK, b"X-More: x\r\n"),
        trickle(b"", b"H"),
        lambda made: time.sleep(30),
    ],
)
def test_a_download_has_a_time_for_the_whole(
    answer: Callable[[socket.socket], None], n_bytes: int | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_LEAST_S", 0.5)
    monkeypatch.setattr(downloads, "_SLOWEST_BYTES_S", 1e12)
    with peer(answer) as (url, _):
        said = refusal(f"{url}/yolox_nano.onnx")
    # A head without an end is refused sooner, for its length.
    assert "cannot be fetched: no whole file within" in said or "got more than" in said
    assert list(place.iterdir()) == []


def endless(made: socket.socket) -> None:
    made.sendall(OK + b"\r\n")
    while True:
        made.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    "answer", [endless, lambda made: made.sendall(OK + b"Content-Length: %d\r\n\r\n" % (len(DATA) + 1) + DATA)]
)
def test_a_download_has_a_largest_size(
    answer: Callable[[socket.socket], None], n_bytes: int | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.models.weights_store.MOST_BYTES", len(DATA))
    with peer(answer) as (url, _):
        said = refusal(url)
    assert f"{url} has more than {len(DATA):,} bytes" in said
    assert ("but the catalogue names" in said) == (n_bytes is not None)
    assert said.endswith("nothing was kept")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE[:-1],
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(DATA) + DATA,
        OK + b"Content-Length: many\r\n\r\n" + DATA[:-1],
        OK + b"Content-Length: -5\r\n\r\n" + DATA[:-1],
        OK + b"\r\n" + DATA[:-1],
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 500 No\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
    ],
)
def test_no_part_of_a_file_is_taken_for_the_whole(answer: bytes, n_bytes: int | None, place: Path) -> None:
    with peer(lambda made: made.sendall(answer)) as (url, _), pytest.raises(Exception) as caught:  # noqa: PT011
        pull("yolox-nano", url)
    assert type(caught.value).__name__ in {"RunFailedError", "UserError"}, caught.value
    assert list(place.iterdir()) == []
    with peer(lambda made: made.sendall(WHOLE)) as (url, _):
        assert pull("yolox-nano", url).state == "present"
    assert (place / "yolox_nano.onnx").read_bytes() == DATA


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def test_another_host_is_reported_and_anything_but_the_web_is_refused(n_bytes: int | None, place: Path) -> None:
    notes: list[str] = []
    with peer(lambda made: made.sendall(WHOLE)) as (files, asked):
        port = files.rpartition(":")[2]
        with peer(lambda made: made.sendall(redirect(f"http://localhost:{port}/x"))) as (url, _):
            assert pull("yolox-nano", url, on_note=notes.append).sha256 == SHA
            assert notes == ["127.0.0.1 sends the download to localhost"]
            assert len(asked) == 1
            assert b"Authorization" not in asked[0]
        with peer(lambda made: made.sendall(redirect(f"{files}/x"))) as (url, _):
            assert pull("yolox-nano", url, on_note=notes.append).sha256 == SHA
            assert len(notes) == 1
        (place / "yolox_nano.onnx").unlink()
        for elsewhere in ("file:///etc/passwd", f"ftp://127.0.0.1:{port}/x", "data:,x"):
            with peer(lambda made, to=elsewhere: made.sendall(redirect(to))) as (url, _):  # type: ignore[misc]
                said = refusal(url)
            assert f"sends the download to {elsewhere}, expected https" in said or "is not allowed" in said
        with peer(lambda made: made.sendall(redirect("/again"))) as (url, round_about):
            assert "cannot be fetched" in refusal(url)
            assert len(round_about) <= 12
        assert len(asked) == 2
    with pytest.raises(RunFailedError, match="sends the download to http://mirror/x, expected https"):
        downloads.Hosts("https://files", notes.append).check("https://files/x", "http://mirror/x")


_PULL = """
import sys
from jobs.models.weights_store import pull
pull("yolox-nano", sys.argv[1])
"""


@pytest.mark.process
@pytest.mark.usefixtures("n_bytes")
def test_a_pull_that_is_killed_starts_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(made: socket.socket) -> None:
        made.sendall(OK + b"Content-Length: 3659407\r\n\r\n")
        trickle(b"", b"x" * 1000)(made)

    with peer(slowly) as (url, asked):
        process = subprocess.Popen([sys.executable, "-c", _PULL, url])
        while not list(place.glob(".*.part")) or not asked:
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    assert [path.name.startswith(".yolox_nano.onnx.") for path in place.iterdir()] == [True]
    with peer(lambda made: made.sendall(WHOLE)) as (url, _):
        assert pull("yolox-nano", url).state == "present"
    assert sorted(path.name for path in place.iterdir()) == ["weights.json", "yolox_nano.onnx"]
    assert json.loads((place / "weights.json").read_text())["yolox-nano"]["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_the_hub_is_bounded_too(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra `transformers` is not installed")
    pytest.importorskip("safetensors", reason="the extra `transformers` is not installed")
    source = write(tmp_path / "source")
    weights = source / "model.safetensors"
    model = dataclasses.replace(
        catalogue()["dfine-small"],
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        size_bytes=weights.stat().st_size,
    )
    monkeypatch.setitem(catalogue(), "dfine-small", model)
    notes: list[str] = []
    with standing_in(monkeypatch, source, model.repository or "", model.revision):
        monkeypatch.setattr(hub_downloads, "SMALL_BYTES", 100)
        with pytest.raises(RunFailedError, match=r"expected at most \d+ bytes in all, found more; nothing was kept"):
            pull("dfine-small", on_note=notes.append)
        assert [path for path in place.iterdir() if path.name != "weights.json"] == []
        monkeypatch.setattr(hub_downloads, "SMALL_BYTES", 1 << 20)
        monkeypatch.setattr(downloads, "_LEAST_S", -1e9)
        with pytest.raises(RunFailedError, match=r"hf:.* cannot be fetched: "):
            pull("dfine-small", on_note=notes.append)
        monkeypatch.setattr(downloads, "_LEAST_S", 600.0)
        assert pull("dfine-small", on_note=notes.append).state == "present"
    assert notes == []
