"""The server as a process: one per root, its end, its death at any moment, and what it leaves on disk."""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from jobs.accounts.database import Database, engine_of
from jobs.core.errors import UserError
from jobs.storage.locks import lock_holder
from jobs.storage.paths import place
from jobs.web.serve import new_entrance
from jobs.web.settings import Settings
from tests.accounts import PASSWORD
from tests.jobs.web.served import API, make_root
from tests.waiting import PATIENCE_S, ended, wait_until

pytestmark = pytest.mark.process

_SERVING = re.compile(r"serving at (http://\S+); Ctrl-C stops it")
_ENTRANCE = re.compile(r"sign in within a minute, once: (http://\S+)/enter#(\S+)")


class Running:
    """A server that was started from the command line and answers."""

    def __init__(self, root: Path, *options: str) -> None:
        words = ["serve", "--root", str(root), "--no-pages", "--port", "0", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline(), self.process.stdout.readline()]
        found, entrance = _SERVING.match(lines[0]), _ENTRANCE.match(lines[1])
        if found is None or entrance is None:
            self.process.kill()
            raise AssertionError((lines, self.process.communicate()))
        self.url, self.token = found[1], entrance[2]
        self.port = int(self.url.rpartition(":")[2])

    def client(self) -> httpx.Client:
        """Return a browser in which the terminal's address was opened, or that was signed in before."""
        client = httpx.Client(base_url=self.url, headers={"origin": self.url}, timeout=PATIENCE_S, verify=False)
        assert client.post(f"{API}/session/enter", json={"token": self.token}).status_code == 200
        return client

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it and return its exit code and what it printed of errors."""
        self.process.send_signal(number)
        code, _, errors = ended(self.process)
        return code, errors


@contextmanager
def running(root: Path, *options: str) -> Iterator[Running]:
    server = Running(root, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def _files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_open_connections_and_leaves_nothing_locked(root: Path, number: int) -> None:
    with running(root) as server:
        client = server.client()
        stream = threading.Thread(target=_listen, args=(client,), daemon=True)
        stream.start()
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        for n, connection in enumerate(idle):
            # Nothing, half a head, and a head whose body does not come.
            connection.sendall(
                (
                    b"",
                    b"GET /api",
                    f"POST {API}/session HTTP/1.1\r\nHost: {server.url[7:]}\r\n".encode()
                    + f"Origin: {server.url}\r\nContent-Length: 9\r\n\r\n".encode(),
                )[n % 3]
            )
        code, errors = server.stop(number)
        assert (code, errors) == (0, "")
        assert not lock_holder(place(root) / ".winnow-server" / "server.lock")
        for connection in idle:
            connection.close()


def _listen(client: httpx.Client) -> None:
    try:
        with client.stream("GET", f"{API}/events") as answer:
            for _ in answer.iter_raw():
                pass
    except httpx.HTTPError:
        pass


def test_one_server_for_a_root(root: Path) -> None:
    with running(root) as server:
        second = subprocess.run(
            [sys.executable, "-m", "jobs.cli", "serve", "--root", str(root), "--no-pages", "--port", "0"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert second.returncode == 2
        (line,) = second.stderr.strip().splitlines()
        assert line.startswith(f"error: process {server.process.pid} on ")
        assert f"at {server.url}; `winnow serve --address`" in line
        address = subprocess.run(
            [sys.executable, "-m", "jobs.cli", "serve", "--root", str(root), "--address"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        ).stdout.strip()
        assert address.startswith(f"{server.url}/enter#")
        client = httpx.Client(base_url=server.url, headers={"origin": server.url}, timeout=PATIENCE_S, verify=False)
        token = address.rpartition("#")[2]
        assert client.post(f"{API}/session/enter", json={"token": token}).json()["user"]["is_admin"]
    with running(root):
        pass


def test_nothing_that_was_acknowledged_is_lost_when_it_is_killed(root: Path) -> None:
    """Writers add accounts until the process dies: each that was answered is there, and no half of another."""
    chance = random.Random(7)
    acknowledged: list[str] = []
    for round_ in range(4):
        with running(root) as server:
            client = server.client()

            def write(n: int, client: httpx.Client = client, round_: int = round_) -> None:
                for count in range(10_000):
                    name = f"key-{round_}-{n}-{count}"
                    try:
                        answer = client.post(f"{API}/keys", json={"name": name, "scopes": ["read"]})
                    except httpx.HTTPError:
                        return
                    assert answer.status_code == 201, answer.text
                    acknowledged.append(name)

            writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
            for writer in writers:
                writer.start()
            enough = len(acknowledged) + chance.randint(1, 25)
            wait_until(partial(_has, acknowledged, enough), every_s=0.001)
            server.process.send_signal(signal.SIGKILL)
            for writer in writers:
                writer.join()
    assert len(acknowledged) > 8
    with running(root) as server:
        client = server.client()
        there = [key["name"] for key in client.get(f"{API}/keys").json()["keys"]]
        assert set(acknowledged) <= set(there)
        assert len(set(there)) == len(there)
        # An entry of the audit for each of them: a transaction is whole or not there.
        entries = []
        before = None
        while found := client.get(
            f"{API}/audit", params={"action": "key.add", "limit": 500, **({"before": before} if before else {})}
        ).json()["entries"]:
            entries += found
            before = found[-1]["seq"]
        assert len(entries) == len(there)
        assert server.stop()[0] == 0


def _has(found: list[str], n: int) -> bool:
    return len(found) >= n


def test_secrets_are_in_no_file_and_in_nothing_that_is_printed(root: Path) -> None:
    secrets = ["planted-password-one", "planted-password-two", "planted-wrong-password", "planted-name-of-nobody"]
    with running(root) as server:
        secrets.append(server.token)
        client = server.client()
        secrets.append(client.cookies["winnow"])
        client.post(f"{API}/users", json={"name": "jane", "password": secrets[0]}).raise_for_status()
        secrets.append(client.post(f"{API}/keys", json={"name": "k", "scopes": ["read"]}).json()["key"])
        invitation = client.post(f"{API}/invitations", json={"project": "crossing", "role": "viewer"}).json()["token"]
        user_id = client.get(f"{API}/users").json()["users"][0]["user_id"]
        reset = client.post(f"{API}/users/{user_id}/reset").json()["token"]
        secrets += [invitation, reset]
        guest = httpx.Client(base_url=server.url, headers={"origin": server.url}, timeout=PATIENCE_S, verify=False)
        choice = {"token": invitation, "name": "maria", "password": secrets[1]}
        guest.post(f"{API}/invitations/accept", json=choice).raise_for_status()
        secrets.append(guest.cookies["winnow"])
        for name, password in (("jane", secrets[2]), (secrets[3], "x"), ("jane", {"a": secrets[2]})):
            answer = guest.post(f"{API}/session", json={"name": name, "password": password})
            assert answer.status_code in {401, 422}
            assert not any(secret in answer.text for secret in secrets)
        for path in ("me", "users", "keys", "invitations", "audit", "sessions", "projects"):
            answer = client.get(f"{API}/{path}")
            assert answer.status_code == 200
            assert not any(secret in answer.text for secret in secrets), path
        # While it runs, and after: the log of SQLite's writes is a file of its own.
        held = dict(_files(root))
        code, errors = server.stop()
    assert code == 0
    held.update(_files(root))
    assert any(path.name.startswith("accounts.sqlite") for path in held)
    found = [(path, secret) for path, content in held.items() for secret in secrets if secret.encode() in content]
    assert found == []
    assert not any(secret in errors for secret in secrets)


def test_on_a_full_disk_it_answers_507_and_can_be_read(root: Path) -> None:
    """The limit of the system on the size of files, which is the disk of a process that may write no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with running(root) as server:
        client = server.client()
        taken = (root / ".winnow-server" / "accounts.sqlite-wal").stat().st_size
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (taken + 40_000, before[1]))
        body = {"name": "x" * 100, "scopes": ["read"]}
        statuses = [client.post(f"{API}/keys", json=body).status_code for _ in range(60)]
        assert statuses[0] == 201
        assert statuses[-1] in {503, 507}
        there = statuses.count(201)
        assert len(client.get(f"{API}/keys").json()["keys"]) == there
        assert client.get(f"{API}/me").status_code == 200
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        assert client.post(f"{API}/keys", json=body).status_code == 201
        assert len(client.get(f"{API}/keys").json()["keys"]) == there + 1


def test_sql_of_users_sees_no_accounts(root: Path) -> None:
    with running(root) as server:
        server.client()
        words = ["sql", "-w", str(root / "crossing"), "SELECT * FROM users"]
        done = subprocess.run(
            [sys.executable, "-m", "jobs.cli", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 2, done.stdout
    assert "users" in done.stderr.splitlines()[0]
    assert done.stdout == ""


def test_accounts_work_from_the_command_line_while_it_runs_and_while_it_does_not(root: Path) -> None:
    def winnow(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobs.cli", *words, "--root", str(root)],
            input=typed,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    made = winnow("user", "add", "jane", "--admin", "--password-stdin", typed=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "account jane, an admin of the server\n")
    with running(root) as server:
        client = httpx.Client(base_url=server.url, headers={"origin": server.url}, timeout=PATIENCE_S, verify=False)
        assert client.post(f"{API}/session", json={"name": "jane", "password": PASSWORD}).status_code == 200
        assert client.get(f"{API}/me").status_code == 200
        assert winnow("user", "add", "maria", "--admin", "--password-stdin", typed=f"{PASSWORD}\n").returncode == 0
        assert winnow("user", "disable", "jane").returncode == 0
        assert client.get(f"{API}/me").status_code == 401
    last = winnow("user", "disable", "maria")
    # The terminal's own account is an admin as well.
    assert last.returncode == 0
    assert PASSWORD not in "".join(str(content) for _, content in _files(root))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"host": "192.0.2.1"}, "others could read passwords on their way"),
        ({"host": "0.0.0.0", "insecure_http": True}, "give the address that people use as --public-url"),
        ({"host": "192.0.2.1", "trusted_proxy": ("10.0.0.1",)}, "cookies are for HTTPS alone"),
        ({"public_url": "https://winnow.example.org"}, "give its address as --trusted-proxy"),
        ({"public_url": "https://winnow.example.org/path", "trusted_proxy": ("127.0.0.1",)}, "without a path"),
        ({"trusted_proxy": ("everybody",)}, "expected an address or a network"),
        ({"tls_cert": Path("/nowhere")}, "expected both or none"),
    ],
)
def test_a_server_that_others_could_misuse_does_not_start(options: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Settings(root=Path("/"), **options).check()  # type: ignore[arg-type]


def test_a_server_that_others_reach_needs_an_account(root: Path) -> None:
    words = ["serve", "--root", str(root), "--no-pages", "--port", "0", "--public-url", "https://winnow.example.org"]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *words, "--trusted-proxy", "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 2
    assert "make an account first, as in `winnow user add jane --admin`" in done.stderr


def test_no_address_of_the_terminal_for_a_server_that_others_reach(root: Path) -> None:
    with pytest.raises(UserError, match="no server serves"):
        new_entrance(Settings(root=root))


def test_the_folder_of_accounts_is_for_its_owner_alone(root: Path) -> None:
    with running(root) as server:
        server.client()
        folder = root / ".winnow-server"
        assert folder.stat().st_mode & 0o777 == 0o700
        for name in ("accounts.sqlite", "accounts.sqlite-wal"):
            assert (folder / name).stat().st_mode & 0o077 == 0
    assert os.getuid() == folder.stat().st_uid
    database = Database(engine_of(f"sqlite:///{folder / 'accounts.sqlite'}"))
    database.close()
