"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, reached through a socket there."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from jobs.accounts.tokens import new_id
from tests.helpers import is_gone
from tests.waiting import wait_until

_ACCOUNTS = ("postgres", "nobody")
"""Accounts of the system that run it where the tests run as root, which PostgreSQL refuses to do."""


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL that is installed, or None."""
    found = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "initdb").exists()]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name.split(".")[0]))
    where = shutil.which("initdb")
    return Path(where).resolve().parent if where else None


@contextmanager
def cluster() -> Iterator[str]:
    """Start a server and give the folder of its socket; skips the test with a reason where there is none."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: no initdb in /usr/lib/postgresql/*/bin nor on PATH")
    user = _user()
    # The folders of pytest are for one account alone, and the path of a socket has about 100 characters at most.
    place = Path(tempfile.mkdtemp(prefix="winnow-pg-"))
    try:
        if user is not None:
            shutil.chown(place, user)
        _run([folder / "initdb", "-D", place / "data", "-A", "trust", "-U", "winnow", "-E", "UTF8", "--no-sync"], user)
        options = f"-k {place} -c listen_addresses= -c fsync=off -c max_connections=100"
        _run([folder / "pg_ctl", "-D", place / "data", "-l", place / "log", "-o", options, "-w", "start"], user)
        try:
            yield str(place)
        finally:
            _stop(int((place / "data" / "postmaster.pid").read_text().split()[0]))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def new_database(socket: str) -> str:
    """Make an empty database and return its URL."""
    name = f"winnow_{new_id()}"
    engine = create_engine(_url(socket, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return _url(socket, name)


def _url(socket: str, name: str) -> str:
    return f"postgresql+psycopg://winnow@/{name}?host={socket}"


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _ACCOUNTS if name in known)


def _stop(pid: int) -> None:
    """End a server at once, as `pg_ctl stop -m immediate` does, without a process of its own: no test runs any more."""
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: is_gone(pid))


def _run(command: list[object], user: str | None) -> None:
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as output:
        # Not a pipe: the server keeps it open for as long as it runs.
        done = subprocess.run(
            words, check=False, user=user, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
        )
        output.seek(0)
        said = output.read()
    assert done.returncode == 0, f"{' '.join(words)}\n{said}"
