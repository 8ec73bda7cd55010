"""Starting and stopping a server: its lock, its accounts, its socket, and the address that signs this machine in."""

from __future__ import annotations

import ipaddress
import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from jobs.accounts import demo_accounts, invitations, people
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database, engine_of
from jobs.accounts.migrate import bring_up_to_date
from jobs.core.errors import UserError
from jobs.core.processes import process_identity
from jobs.storage.locks import lock_at, lock_holder
from jobs.storage.paths import Place
from jobs.web.connection import Connection
from jobs.web.gateways import Gateways
from jobs.web.on_demand import OnDemand, create_first_app
from jobs.web.places import checked_place, server_folder
from jobs.web.projects import Projects
from jobs.web.settings import FOLDER, Settings
from jobs.web.version import STATIC

_STOP_S = 1
_OPEN = 8192
_BACKLOG = 256
_TERMINAL = Actor("terminal")


@dataclass(frozen=True)
class Address:
    """Where a server answers; `entrance` is the one-time address for a browser on this machine, None for others."""

    url: str
    entrance: str | None


def database_of(settings: Settings) -> Database:
    """Open the accounts of a server, which need not run, and bring their tables up to date.

    Raises `UserError` where they cannot be opened, or were written by a newer version.
    """
    database = Database(engine_of(settings.database or f"sqlite:///{server_folder(settings) / 'accounts.sqlite'}"))
    try:
        bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def serve(settings: Settings, announce: Callable[[Address], None]) -> None:
    """Serve until a signal says stop; `announce` is called once, when requests are answered.

    Raises `UserError` before anything is opened for options that are wrong, pages that are not built, a port in use, an
    address that others reach without any account, and where another server serves the same.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    settings.check()
    if settings.has_pages and not (STATIC / "index.html").is_file():
        raise UserError("the pages are not built: run `make ui`, or serve the API alone with --no-pages")
    place = checked_place(settings)
    database = database_of(settings)
    lock = lock_at(place / FOLDER / "server.lock")
    try:
        if not lock.take({"process": process_identity(), "since_ns": time.time_ns()}):
            raise UserError(_already_served(place))
        try:
            if not settings.is_private:
                _require_account(database)
            with _listening(settings) as listener:
                port: int = listener.getsockname()[1]
                url = settings.address(port)
                about = {"process": process_identity(), "since_ns": time.time_ns(), "url": url}
                lock.describe({**about, "is_private": settings.is_private})

                def begun() -> None:
                    announce(Address(url, _entrance(settings, database, url)))

                stopping = threading.Event()
                first = create_first_app(settings, database, port, lock, begun, stopping)

                def whole() -> FastAPI:
                    from jobs.web.app import create_app

                    return create_app(settings, database, port, lock, None, stopping, first.state.metrics)

                with _gateways(settings):
                    _run(settings, OnDemand(first, whole), listener, stopping)
        finally:
            lock.release()
    finally:
        database.close()


@contextmanager
def _gateways(settings: Settings) -> Iterator[None]:
    """Keep gateways running, if the settings say so."""
    if not settings.has_gateway:
        yield
        return
    kept = Gateways(Projects(settings))
    kept.start()
    try:
        yield
    finally:
        kept.stop()


def new_entrance(settings: Settings) -> str:
    """Return a one-time address of a server that runs. Raises `UserError` where none does, or others can reach it."""
    place = checked_place(settings)
    holder = lock_holder(place / FOLDER / "server.lock")
    if not holder or "url" not in holder:
        raise UserError(f"no server serves {place}; `winnow serve` starts one")
    if not holder.get("is_private"):
        raise UserError(f"others can reach {holder['url']}: sign in there with a name and a password")
    database = database_of(settings)
    try:
        token = database.write(lambda c: invitations.entrance(c, _TERMINAL))
    finally:
        database.close()
    return f"{holder['url']}/enter#{token}"


def _entrance(settings: Settings, database: Database, url: str) -> str | None:
    if not settings.is_private:
        return None
    return f"{url}/enter#{database.write(lambda c: invitations.entrance(c, _TERMINAL))}"


def require_private(settings: Settings) -> None:
    """Raise `UserError` where a server runs that others reach."""
    place = checked_place(settings)
    holder = lock_holder(place / FOLDER / "server.lock")
    if holder and not holder.get("is_private"):
        raise UserError(f"others reach the server of {place}: accounts to try it with are for this machine alone")


def _require_account(database: Database) -> None:
    with database.read() as connection:
        if demo := demo_accounts.enabled(connection):
            raise UserError(
                f"others would reach accounts that are there to try the server: `winnow user disable {demo[0]}`"
                + (f", and {len(demo) - 1} more" if len(demo) > 1 else "")
            )
        if not people.anybody_has_a_password(connection):
            raise UserError(
                "others would reach a server that nobody can sign in to: make an account first, as in "
                "`winnow user add jane --admin`"
            )


def _already_served(place: Place) -> str:
    holder = lock_holder(place / FOLDER / "server.lock") or {}
    process: Any = holder.get("process") or {}
    where = f" at {holder['url']}" if holder.get("url") else ""
    return (
        f"process {process.get('pid', '?')} on {process.get('host', '?')} serves {place} already{where}; "
        "`winnow serve --address` prints an address that signs you in there"
    )


def _listening(settings: Settings) -> socket.socket:
    """Return a socket that listens. Raises `UserError` for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(
            f"--host {settings.host} --port {settings.port}: {error.strerror or error}; --port 0 takes any free port"
        ) from error
    return listener


def _run(settings: Settings, app: Any, listener: socket.socket, stopping: threading.Event) -> None:
    _allow_connections()
    server_of(settings, app, stopping).run(sockets=[listener])


def server_of(settings: Settings, app: Any, stopping: threading.Event) -> uvicorn.Server:
    """Return the server of an application, which runs until its `should_exit` is set or a signal comes."""
    config = uvicorn.Config(
        app,
        # Tokens may be in no log; errors are logged by the application.
        access_log=False,
        log_config=None,
        lifespan="on",
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        proxy_headers=bool(settings.trusted_proxy),
        forwarded_allow_ips=[str(ipaddress.ip_network(n, strict=False)) for n in settings.trusted_proxy] or None,
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
        # One parser, and a strict one, whichever other ones are installed; nothing here speaks by WebSocket.
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=1 << 16,
    )
    return _Server(config, stopping)


class _Server(uvicorn.Server):
    """Has streams of events end as soon as a signal says stop; otherwise it would wait for them."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at these signals, and be silent: the library would raise them once more after it has stopped."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note that it is to stop."""
        self._stopping.set()
        # What is cut off by a second signal is no news.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


def _allow_connections() -> None:
    """Raise the number of files that may be open, of which each connection is one, as far as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN if most == resource.RLIM_INFINITY else min(most, _OPEN)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
