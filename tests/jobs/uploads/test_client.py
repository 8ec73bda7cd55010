"""Uploads over a network that is cut, to a server that is killed, by a client that is killed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3

from jobs.storage.workspace import Workspace
from tests.helpers import scenery, write_clip
from tests.jobs.uploads.cutting_proxy import CuttingProxy
from tests.jobs.uploads.padded_clip import padded_clip
from tests.waiting import ended, wait_until
from tests.web_process import ServerProcess, server_process

pytestmark = [pytest.mark.process, pytest.mark.slow(40)]

_SIZE = 64 << 20
_IN_FLIGHT = 8 << 20
"""Bytes that a cut may lose at most: what sockets hold, and three pieces of a megabyte in the server."""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
        return found


def new_key(server: ServerProcess) -> str:
    with server.browser() as client:
        made = client.post(f"{server.api}/keys", json={"name": "sender", "scopes": ["upload", "read"], "days": 1})
        key: str = made.json()["key"]
        return key


def received(place: Path) -> int:
    """Return how many bytes of the upload are in its file."""
    files = list((place / "uploads/records").glob("*/data.mp4"))
    return files[0].stat().st_size if files else 0


def more_than(place: Path, n_bytes: int) -> bool:
    return received(place) > n_bytes


def test_a_file_arrives_whole_though_all_of_it_dies_in_between(tmp_path: Path, port: int) -> None:
    place = tmp_path / "site"
    Workspace.at(place).create()
    clip = padded_clip(tmp_path / "long.mp4", _SIZE)
    proxy = CuttingProxy(port, rate=24e6)
    kills = 0
    try:
        with server_process(place, "--port", str(port)) as first:
            key = new_key(first)
            words = ["upload", str(clip), "--to", f"http://127.0.0.1:{proxy.port}", "--key", key, "--json"]
            command = [sys.executable, "-m", "jobs.cli", *words]

            def start() -> subprocess.Popen[str]:
                return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

            client = start()
            for at in (8 << 20, 16 << 20):
                wait_until(partial(more_than, place, at), "bytes arrive", process=client)
                client.kill()
                client.communicate()
                kills += 1
                client = start()
            wait_until(lambda: received(place) > 24 << 20, "bytes arrive", process=client)
            proxy.cut()
            kills += 1
            wait_until(lambda: received(place) > 32 << 20, "bytes arrive after a cut", process=client)
            first.process.kill()
            kills += 1
        with server_process(place, "--port", str(port)) as second:
            wait_until(lambda: received(place) > 44 << 20, "bytes arrive at the next server", process=client)
            second.process.kill()
            kills += 1
        with server_process(place, "--port", str(port)):
            code, out, err = ended(client)
            assert code == 0, (out, err)
            found = json.loads(out)
            assert found["state"] == "ready", found
            assert found["blake3"] == blake3(clip.read_bytes()).hexdigest()
            assert (place / "uploads/files/long.mp4").read_bytes() == clip.read_bytes()
            assert proxy.n_sent < _SIZE + kills * _IN_FLIGHT
            # What is there is not sent again.
            code, out, err = ended(start())
            assert code == 0, (out, err)
            assert json.loads(out)["already_there"] is True
            assert json.loads(out)["bytes_sent"] == 0
    finally:
        proxy.close()


def test_a_command_says_what_is_wrong_before_it_sends(tmp_path: Path) -> None:
    place = tmp_path / "site"
    Workspace.at(place).create()
    note = tmp_path / "note.txt"
    note.write_text("hello")

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "jobs.cli", "upload", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    away = ("--to", "http://127.0.0.1:1", "--key", "wnw_x", "--patience", "0")
    code, said = run(str(note), str(tmp_path / "none.mp4"), *away)
    assert code == 2
    assert "note.txt: expected a clip, a recording or an image" in said
    assert "none.mp4: expected a file or a folder, found none" in said
    clip = write_clip(tmp_path / "a.mp4", scenery(3))
    code, said = run(str(clip), *away)
    assert code == 1
    assert "the same command continues" in said
    assert "Traceback" not in said
    with server_process(place) as server:
        code, said = run(str(clip), "--to", server.url, "--key", "wnw_wrong")
        assert code == 2
        assert "sign in first" in said
