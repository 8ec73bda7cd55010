"""A server that waits: it signs people in and serves pages; all else is loaded with the first request for it.

Libraries of tables and images take 150 MB, and a second of processor time, which a server that nobody uses does not
need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from threading import Event

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Match

from jobs.accounts import passwords
from jobs.accounts.database import Database
from jobs.storage.locks import Lock
from jobs.web.assembly import add_routes, new_app
from jobs.web.guard import App, Receive, Scope, Send
from jobs.web.pages import PAGES, is_page
from jobs.web.problems import of_failure
from jobs.web.routes import accounts, health, metrics, oidc, projects, session
from jobs.web.settings import Settings

_ROUTES = (health, session, oidc, accounts, projects, metrics)
_OF_API = "/api/"


def create_first_app(
    settings: Settings,
    database: Database,
    port: int,
    lock: Lock | None = None,
    on_start: Callable[[], None] | None = None,
    is_stopping: Event | None = None,
) -> FastAPI:
    """Return the application of those routes that read no tables, and the pages."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The first name that nobody has takes no longer than others.
        decoy = asyncio.get_running_loop().create_task(app.state.hashing.run(passwords.decoy))
        if on_start is not None:
            on_start()
        yield
        decoy.cancel()
        app.state.hashing.close()

    app = new_app(settings, database, lock, is_stopping, lifespan, openapi_url=None)
    add_routes(app, _ROUTES, port)
    return app


class OnDemand:
    """An application that begins as `first`, and becomes the one that `make` returns when that is needed."""

    def __init__(self, first: FastAPI, make: Callable[[], FastAPI]) -> None:
        self._first = first
        self._make = make
        self._whole: FastAPI | None = None
        self._loading: asyncio.Task[FastAPI] | None = None
        self._open = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the first application if that can, else by the whole one."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        app: App = self._first
        if self._whole is not None:
            app = self._whole
        elif scope["type"] == "http" and not self._is_first(scope):
            try:
                app = await asyncio.shield(self._load())
            except Exception as error:
                self._loading = None
                await of_failure(Request(scope), error)(scope, receive, send)
                return
        elif scope["type"] == "http" and self._first.state.settings.has_pages and is_page(scope["path"]):
            # The requests of the page are on their way.
            self._load()
        await app(scope, receive, send)

    def _is_first(self, scope: Scope) -> bool:
        if not scope["path"].startswith(_OF_API):
            return True
        # The pages' route answers for every address.
        of_api = (route for route in self._first.routes if getattr(route, "name", "") != PAGES)
        return any(route.matches(scope)[0] is Match.FULL for route in of_api)

    def _load(self) -> asyncio.Task[FastAPI]:
        """Return the task that makes the whole application, which is begun once."""
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._loaded())
        return self._loading

    async def _loaded(self) -> FastAPI:
        app = await asyncio.to_thread(self._make)
        await self._open.enter_async_context(app.router.lifespan_context(app))
        self._whole = app
        return app

    async def _live(self, receive: Receive, send: Send) -> None:
        """Begin and end what the applications have open, as the server says (ASGI's lifespan)."""
        await receive()
        async with self._open:
            await self._open.enter_async_context(self._first.router.lifespan_context(self._first))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            if self._loading is not None:
                await asyncio.wait([self._loading])
        await send({"type": "lifespan.shutdown.complete"})
