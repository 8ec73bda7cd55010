"""A server on a disk that fills up: what it cannot write it refuses in a line, and what it has stays whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.jobs.web.served import API, make_root
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(disk: Path) -> None:
    """Leave nothing free."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        size = 1 << 20
        while size:
            try:
                filler.write(b"x" * size)
            except OSError:
                size //= 2


def test_what_a_full_disk_does_not_take_is_refused_and_nothing_is_half_there(disk: Path, tmp_path: Path) -> None:
    root = make_root(disk / "root")
    stream = write_noise_stream(tmp_path / "cam", range(4))
    go(Workspace.at(root / "crossing"), stream)
    words = ["serve", "--root", str(root), "--no-pages", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("serving at ").partition(";")[0]
        token = process.stdout.readline().rpartition("#")[2].strip()
        with httpx.Client(base_url=url, headers={"origin": url}, timeout=PATIENCE_S) as client:
            assert client.post(f"{API}/session/enter", json={"token": token}).status_code == 200
            _try_all(client, disk, stream)
    finally:
        process.kill()
        process.communicate()


def _try_all(client: httpx.Client, disk: Path, stream: Path) -> None:
    (known,) = client.get(f"{API}/projects/crossing/streams").json()["streams"]
    writes = _writes(stream, known["stream_id"])
    for path, body in writes.values():
        # What is loaded with the first request is there before the disk is full.
        assert client.request(_method(path), f"{API}/{path}", json=body(0)).status_code in {200, 201}, path
    before = _state(client)
    _fill(disk)
    for name, (path, body) in writes.items():
        statuses = []
        # The database may have room in its own file for some more.
        for n in range(1, 400 if name in {"key", "member"} else 3):
            answer = client.request(_method(path), f"{API}/{path}", json=body(n))
            statuses.append(answer.status_code)
            if answer.status_code not in {200, 201}:
                break
        assert statuses[-1] == 507, (name, statuses[-1], answer.text)
        (line,) = answer.json()["lines"]
        assert "full" in line, line
    for path in ("me", "keys", "projects", "projects/crossing/jobs", "projects/crossing/frames", "audit"):
        assert client.get(f"{API}/{path}").status_code == 200, path
    image = client.get(f"{API}/projects/crossing/media/frame", params={"stream": known["stream_id"], "idx": 0})
    assert image.status_code == 200, "an image that cannot be kept is shown all the same"
    full = _state(client)
    assert full["jobs"] == before["jobs"]
    assert full["schedules"] == before["schedules"]
    assert full["overrides"] == before["overrides"]
    (disk / "filler").unlink()
    for path, body in writes.values():
        answer = client.request(_method(path), f"{API}/{path}", json=body(1000))
        assert answer.status_code in {200, 201}, (path, answer.text)
    after = _state(client)
    assert after["jobs"] == before["jobs"] + 2
    assert after["schedules"] == before["schedules"] + 1
    assert after["keys"] == full["keys"] + 1
    for folder in os.walk(disk):
        assert [name for name in folder[2] if name.endswith((".tmp", ".partial"))] == [], folder[0]


def _method(path: str) -> str:
    return "PUT" if path.endswith("/overrides") else "POST"


def _writes(stream: Path, stream_id: str) -> dict[str, tuple[str, Any]]:
    """Return routes that write, each with a body for its n-th request."""
    one = "projects/crossing"
    return {
        "release": (f"{one}/releases", lambda n: {"options": {"name": f"release-{n}"}}),
        "run": (f"{one}/jobs", lambda n: {"options": {"inputs": [str(stream)]}, "priority": n}),
        "schedule": (
            f"{one}/schedules",
            lambda n: {"name": f"s-{n}", "cron": "0 0 1 1 *", "options": {"inputs": [str(stream)]}},
        ),
        "override": (
            f"{one}/overrides",
            lambda n: {"frames": [{"stream_id": stream_id, "frame_idx": 0, "decision": ("keep", "drop")[n % 2]}]},
        ),
        "key": ("keys", lambda n: {"name": f"{n}-{'x' * 90}", "scopes": ["read"]}),
    }


def _state(client: httpx.Client) -> dict[str, int]:
    """Return how many things of each kind there are."""

    def count(path: str, name: str) -> int:
        answer = client.get(f"{API}/{path}")
        assert answer.status_code == 200, answer.text
        return len(answer.json()[name])

    return {
        "jobs": count("projects/crossing/jobs", "jobs"),
        "schedules": count("projects/crossing/schedules", "schedules"),
        "overrides": count("projects/crossing/overrides", "overrides"),
        "keys": count("keys", "keys"),
    }
