"""Servers that are killed while programs write: what each was answered, and what is there afterwards.

An answer is a promise: what was acknowledged is there, once. What was asked without an answer is there once or not at
all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from jobs.records.job_log import JobLog
from jobs.storage.paths import place
from tests.waiting import PATIENCE_S, wait_until

API = "/api/v1"
PROJECT, OTHER = "crossing", "yard"
ROLES = ("viewer", "annotator", "reviewer")
_SERVING = re.compile(r"serving at (http://\S+:(\d+));")


class Start(NamedTuple):
    """How long it took until a server was ready, and how long it used a processor for it: others use them, too."""

    wall_s: float
    cpu_s: float


class Server:
    """A server that is started again and again at one port."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.port = 0
        self.url = ""
        self.cookie = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Start:
        """Start it and return what it took until it is ready; for the first time, sign in as well."""
        began = time.monotonic()
        words = ["serve", "--root", str(self._root), "--no-pages", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        found = _SERVING.match(self.process.stdout.readline())
        assert found is not None, "the server did not start"
        self.url, self.port = found[1], int(found[2])
        with httpx.Client(base_url=self.url, timeout=PATIENCE_S) as client:
            assert client.get(f"{API}/ready").status_code == 200
            took = Start(time.monotonic() - began, _cpu_s(self.process.pid))
            token = self.process.stdout.readline().rpartition("#")[2].strip()
            if not self.cookie:
                entered = client.post(f"{API}/session/enter", json={"token": token}, headers={"origin": self.url})
                assert entered.status_code == 200, entered.text
                self.cookie = entered.cookies["winnow"]
        return took

    def kill(self) -> None:
        """End it at once, as the system does when memory is short."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def client(self) -> httpx.Client:
        """Return the browser that signed in when it was started for the first time."""
        headers = {"origin": self.url, "cookie": f"winnow={self.cookie}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)


def _cpu_s(pid: int) -> float:
    """Return how long a process has used a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Ledger:
    """What one program requested: what was acknowledged, and what may have been done or not."""

    acknowledged: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def check(self, there: list[str]) -> None:
        """Compare with what is there: nothing is lost, nothing is there twice, nothing came from nowhere."""
        counts = Counter(there)
        assert [name for name in self.acknowledged if counts[name] != 1] == []
        assert [name for name in self.unanswered if counts[name] > 1] == []
        assert counts.keys() <= {*self.acknowledged, *self.unanswered}


class Writers:
    """Programs that write all the time, each its own kind of thing, whether a server runs or not."""

    def __init__(self, server: Server, user_id: str, stream: Path) -> None:
        """`user_id` is whose role changes, and `stream` what schedules are to run."""
        self._server = server
        self._about = {"user_id": user_id, "stream": str(stream)}
        self._is_over = threading.Event()
        self.ledgers = {name: Ledger() for name in ("key", "invitation", "member", "release", "schedule", "user")}
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in self.ledgers]
        for thread in self._threads:
            thread.start()

    @property
    def n_acknowledged(self) -> int:
        """Return how many writes were acknowledged."""
        return sum(len(ledger.acknowledged) for ledger in self.ledgers.values())

    def stop(self) -> None:
        """Have all of them end."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _write(self, kind: str) -> None:
        ledger, make = self.ledgers[kind], _WRITES[kind]
        for n in range(1_000_000):
            if self._is_over.is_set():
                return
            name = f"{kind}-{n}"
            method, path, body = make(name, n, self._about)
            try:
                with self._server.client() as client:
                    answer = client.request(method, f"{API}/{path}", json=body)
            except httpx.ConnectError:
                # Never sent.
                time.sleep(0.02)
                continue
            except httpx.HTTPError:
                ledger.unanswered.append(name)
                continue
            if answer.status_code in {200, 201}:
                ledger.acknowledged.append(answer.json().get("invitation_id", name) if kind == "invitation" else name)
            else:
                self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")


_About = dict[str, str]


def _member(_: str, n: int, about: _About) -> tuple[str, str, Any]:
    return "PUT", f"projects/{OTHER}/members/{about['user_id']}", {"role": ROLES[n % len(ROLES)]}


def _schedule(name: str, _: int, about: _About) -> tuple[str, str, Any]:
    options = {"inputs": [about["stream"]]}
    return "POST", f"projects/{OTHER}/schedules", {"name": name, "cron": "0 0 1 1 *", "options": options}


_Made = Callable[[str, int, _About], tuple[str, str, Any]]
_WRITES: dict[str, _Made] = {
    "key": lambda name, _, __: ("POST", "keys", {"name": name, "scopes": ["read"]}),
    "invitation": lambda _, __, ___: ("POST", "invitations", {"project": OTHER, "role": "viewer"}),
    "member": _member,
    "release": lambda name, _, __: ("POST", f"projects/{OTHER}/releases", {"options": {"name": name}}),
    "schedule": _schedule,
    "user": lambda name, _, __: ("POST", "users", {"name": name, "password": f"planted-{name}-password"}),
}


def check_all(writers: Writers, client: httpx.Client, root: Path) -> None:
    """Compare what programs were answered with what a server has now."""

    def got(path: str) -> Any:
        answer = client.get(f"{API}/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    ledgers = writers.ledgers
    assert writers.wrong == [], writers.wrong[:5]
    ledgers["key"].check([key["name"] for key in got("keys")["keys"]])
    ledgers["user"].check([each["name"] for each in got("users")["users"] if each["name"].startswith("user-")])
    ledgers["schedule"].check([each["name"] for each in got(f"projects/{OTHER}/schedules")["schedules"]])
    jobs = [job["job_id"] for job in got(f"projects/{OTHER}/jobs")["jobs"] if job["kind"] == "release"]
    ledgers["release"].check([_release_of(root / OTHER, job_id) for job_id in jobs])
    invited = [each["invitation_id"] for each in got("invitations")["invitations"]]
    there = ledgers["invitation"]
    assert set(there.acknowledged) <= set(invited)
    assert len(invited) <= len(there.acknowledged) + len(there.unanswered)
    _check_member(ledgers["member"], got(f"projects/{OTHER}/members")["members"])
    _check_audit(got, {"key.add": len(got("keys")["keys"]), "invitation.add": len(invited)})


def _release_of(workspace: Path, job_id: str) -> str:
    """Return the name of the release that a job is to make."""
    (record,) = JobLog(place(workspace), job_id).records()
    name: str = record.data["task"]["name"]
    return name


def _check_member(ledger: Ledger, members: list[dict[str, Any]]) -> None:
    """The role is that of the last change which was acknowledged, or of one without an answer after it."""
    (found,) = [each["role"] for each in members if each["name"] == "jane"]
    last = int(ledger.acknowledged[-1].partition("-")[2])
    later = [int(name.partition("-")[2]) for name in ledger.unanswered]
    assert found in {ROLES[n % len(ROLES)] for n in (last, *(n for n in later if n > last))}


def _check_audit(got: Callable[[str], Any], expected: dict[str, int]) -> None:
    """Each change has its entry: a transaction is whole, or not there."""
    for action, n in expected.items():
        entries: list[Any] = []
        while True:
            before = f"&before={entries[-1]['seq']}" if entries else ""
            more = got(f"audit?action={action}&limit=500{before}")["entries"]
            if not more:
                break
            entries += more
        assert len(entries) == n, action


def wait_for_each(writers: Writers) -> None:
    """Wait until one more write of each kind was acknowledged."""
    before = {kind: len(ledger.acknowledged) for kind, ledger in writers.ledgers.items()}
    wait_until(
        lambda: all(len(writers.ledgers[kind].acknowledged) > n for kind, n in before.items()) or bool(writers.wrong),
        every_s=0.005,
    )


def wait_for_more(writers: Writers, n: int) -> None:
    """Wait until so many more writes were acknowledged."""
    before = writers.n_acknowledged
    wait_until(lambda: writers.n_acknowledged >= before + n or bool(writers.wrong), every_s=0.001)
