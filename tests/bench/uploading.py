"""Uploads at their real size: `python -m tests.bench.uploading --gb 20 --kills 10`.

Prints the rate next to a copy that hashes, how much is sent twice where server and client are killed in turn, how long
it takes to continue, the memory of the server, and what other routes take meanwhile. The source is a sparse file; as
many bytes are written, twice, below the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
from blake3 import blake3

from jobs.storage.workspace import Workspace
from tests.helpers import scenery, write_clip
from tests.jobs.uploads.cutting_proxy import CuttingProxy
from tests.waiting import ended, wait_until
from tests.web_process import ServerProcess, server_process

_PIECE = 1 << 20
_ASKED = 100
_UNLIMITED = 1e12


def sparse_clip(path: Path, size: int) -> Path:
    """Write a clip that is followed by a box of zeros, which take no space here."""
    write_clip(path, scenery(5))
    rest = size - path.stat().st_size
    with open(path, "ab") as file:
        file.write((1).to_bytes(4, "big") + b"free" + rest.to_bytes(8, "big"))
        file.truncate(size)
    return path


def copy_and_hash(source: Path, target: Path) -> float:
    """Return how many seconds it takes to copy a file to disk and to hash it, a megabyte at a time."""
    since = time.monotonic()
    content = blake3()
    with open(source, "rb") as file, open(target, "wb") as copy:
        while piece := file.read(_PIECE):
            content.update(piece)
            copy.write(piece)
        copy.flush()
        os.fdatasync(copy.fileno())
    seconds = time.monotonic() - since
    target.unlink()
    return seconds


def new_key(server: ServerProcess) -> str:
    with server.browser() as client:
        body = {"name": "bench", "scopes": ["upload", "read"], "days": 1}
        return str(client.post(f"{server.api}/keys", json=body).json()["key"])


def sender(clip: Path, port: int, key: str, folder: str) -> subprocess.Popen[str]:
    words = ["upload", str(clip), "--to", f"http://127.0.0.1:{port}", "--key", key, "--folder", folder, "--json"]
    return subprocess.Popen([sys.executable, "-m", "jobs.cli", *words], stdout=subprocess.PIPE, text=True)


def largest_mb(pid: int) -> float:
    """Return the most memory that a process has had so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1000


def p99_ms(url: str, is_over: Callable[[], bool]) -> float:
    """Return what the slowest of a hundred small requests takes."""
    took: list[float] = []
    with httpx.Client() as client:
        while len(took) < _ASKED and not is_over():
            since = time.monotonic()
            client.get(f"{url}/api/v1/health")
            took.append(1000 * (time.monotonic() - since))
            time.sleep(0.01)
    return statistics.quantiles(took, n=100)[-1] if len(took) > 1 else 0.0


def has_more(place: Path, n_bytes: float) -> bool:
    return received(place) > n_bytes


def received(place: Path) -> int:
    """Return how many bytes of the upload are in its file."""
    return max((each.stat().st_size for each in place.glob("uploads/records/*/data.mp4")), default=0)


def undisturbed(place: Path, clip: Path) -> None:
    """Print rate, memory and the answers of other routes."""
    bare = copy_and_hash(clip, place.with_name("copy"))
    with server_process(place) as server:
        key = new_key(server)
        # What reads tables is loaded with the first request for it.
        httpx.get(f"{server.api}/projects/one/uploads", headers={"authorization": f"Bearer {key}"}, timeout=60)
        before = largest_mb(server.process.pid)
        idle = p99_ms(server.url, lambda: False)
        since = time.monotonic()
        client = sender(clip, int(server.url.rpartition(":")[2]), key, "one")
        busy = p99_ms(server.url, lambda: client.poll() is not None)
        code, out, _ = ended(client)
        took = time.monotonic() - since
        assert code == 0, out
        print(f"rate: {bare / took:.2f} of copy + hash ({bare:.1f} s bare, {took:.1f} s with the start of the client)")
        print(f"other routes: p99 {busy / idle:.1f} x ({idle:.1f} ms alone, {busy:.1f} ms meanwhile)")
        print(f"memory of the server: {largest_mb(server.process.pid):.0f} MB at most, {before:.0f} MB before")


def disturbed(place: Path, clip: Path, kills: int) -> None:
    """Print what is sent twice, and how long it takes to continue, where server and client are killed in turn."""
    size = clip.stat().st_size
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    proxy = CuttingProxy(port, _UNLIMITED)
    chance = random.Random(0)
    moments = sorted(chance.uniform(0.02, 0.95) for _ in range(kills))
    pauses: list[float] = []
    with ExitStack() as stack:
        server = stack.enter_context(server_process(place, "--port", str(port)))
        key = new_key(server)
        client = sender(clip, proxy.port, key, "two")
        for n, moment in enumerate(moments):
            wait_until(partial(has_more, place, moment * size), every_s=0.01, process=client)
            if n % 2:
                client.kill()
                client.communicate()
                client = sender(clip, proxy.port, key, "two")
            else:
                server.process.kill()
                server = stack.enter_context(server_process(place, "--port", str(port)))
            there, since = received(place), time.monotonic()
            wait_until(partial(has_more, place, there), every_s=0.01, process=client)
            pauses.append(time.monotonic() - since)
        code, out, _ = ended(client)
        assert code == 0, out
        found = json.loads(out)
    proxy.close()
    content = blake3(max_threads=blake3.AUTO)
    content.update_mmap(clip)
    print(f"killed {kills} times: {'the same' if found['blake3'] == content.hexdigest() else 'ANOTHER'} BLAKE3")
    print(f"sent twice: {100 * (proxy.n_sent / size - 1):.2f} % of {size / 1e9:.1f} GB")
    print(f"continues within {max(pauses, default=0):.2f} s of a start")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.uploading", description=__doc__)
    parser.add_argument("--gb", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = sparse_clip(Path(folder) / "long.mp4", int(asked.gb * 1e9))
        for name, measure in (("one", undisturbed), ("two", lambda p, c: disturbed(p, c, asked.kills))):
            place = Path(folder) / name
            Workspace.at(place).create()
            measure(place, clip)


if __name__ == "__main__":
    main()
