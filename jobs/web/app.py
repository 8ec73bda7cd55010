"""The application: routes behind one check of who may use them, errors as problems, pages if they are built."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from jobs.accounts import passwords
from jobs.accounts.database import Database
from jobs.storage.locks import Lock
from jobs.web.event_ring import EventRing
from jobs.web.guard import Guard
from jobs.web.hashing import Hashing
from jobs.web.identity import authorise
from jobs.web.journals import Journals
from jobs.web.media import Media
from jobs.web.overviews import Overviews
from jobs.web.pages import API, add_pages
from jobs.web.places import server_folder
from jobs.web.previews import Previews
from jobs.web.problems import add_handlers
from jobs.web.project_data import ProjectsData
from jobs.web.projects import Projects
from jobs.web.reviews import Reviews
from jobs.web.routes import (
    accounts,
    datasets,
    events,
    frames,
    health,
    jobs,
    media,
    overview,
    projects,
    review,
    session,
    streams,
    thresholds,
)
from jobs.web.rules import RULES
from jobs.web.settings import Settings
from jobs.web.version import version
from jobs.web.watcher import Watcher

_ROUTES = (
    health,
    session,
    accounts,
    projects,
    jobs,
    datasets,
    events,
    overview,
    streams,
    frames,
    media,
    thresholds,
    review,
)
_SWEEP_S = 60.0


def create_app(
    settings: Settings,
    database: Database,
    port: int,
    lock: Lock | None = None,
    on_start: Callable[[], None] | None = None,
    is_stopping: threading.Event | None = None,
) -> FastAPI:
    """Return the application for a server at a port. Raises `LookupError` for a route that no rule covers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The first name that nobody has takes no longer than others.
        decoy = asyncio.get_running_loop().create_task(app.state.hashing.run(passwords.decoy))
        app.state.ring = EventRing()
        app.state.watcher = Watcher(app.state.ring, app.state.projects, app.state.overviews)
        if on_start is not None:
            on_start()
        sweeper = asyncio.create_task(_free_idle(app.state.data, app.state.previews))
        yield
        decoy.cancel()
        sweeper.cancel()
        app.state.media.close()
        app.state.hashing.close()

    app = FastAPI(
        title="Winnow",
        version=version(),
        openapi_url=f"{API}/openapi.json",
        # Pages of descriptions would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # Addresses mean one thing each.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.projects = Projects(settings)
    app.state.hashing = Hashing()
    app.state.data = ProjectsData(app.state.projects)
    app.state.previews = Previews()
    app.state.reviews = Reviews(database)
    app.state.media = Media(server_folder(settings) / "images")
    app.state.lock = lock
    app.state.is_stopping = is_stopping or threading.Event()
    app.state.overviews = Overviews()
    app.state.journals = Journals()
    _apply_rules([route for module in _ROUTES for route in module.router.routes])
    for module in _ROUTES:
        app.include_router(module.router, prefix=API, dependencies=[Depends(authorise)])
    add_handlers(app)
    if settings.has_pages:
        add_pages(app)
    app.add_middleware(Guard, origins=settings.origins(port))
    return app


async def _free_idle(data: ProjectsData, previews: Previews) -> None:
    """Free what nobody asks for, as long as the server runs."""
    while True:
        await asyncio.sleep(_SWEEP_S)
        data.free_idle()
        previews.free_idle()


def _apply_rules(routes: Iterable[BaseRoute]) -> None:
    """Describe in the API's own document who may use what, and raise `LookupError` where nobody said so."""
    found = [route for route in routes if isinstance(route, APIRoute)]
    if unruled := sorted(route.name for route in found if route.name not in RULES):
        raise LookupError(f"routes without a rule in jobs/web/rules.py: {', '.join(unruled)}")
    for route in found:
        rule = RULES[route.name]
        extra: dict[str, Any] = {"x-winnow-role": rule.needs}
        if rule.scope is not None:
            extra["x-winnow-scope"] = rule.scope
        route.openapi_extra = {**(route.openapi_extra or {}), **extra}
