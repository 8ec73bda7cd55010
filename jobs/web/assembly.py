"""How an application is put together: routes behind the table of rules, errors as problems, pages, the guard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from jobs.accounts.database import Database
from jobs.storage.locks import Lock
from jobs.web.guard import Guard
from jobs.web.hashing import Hashing
from jobs.web.identity import authorise
from jobs.web.metrics import Metrics
from jobs.web.oidc_provider import Provider
from jobs.web.pages import API, add_pages
from jobs.web.problems import add_handlers
from jobs.web.projects import Projects
from jobs.web.rules import RULES
from jobs.web.settings import Settings
from jobs.web.upload_requests import is_upload
from jobs.web.version import version

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def new_app(
    settings: Settings,
    database: Database,
    lock: Lock | None,
    is_stopping: threading.Event | None,
    lifespan: Lifespan,
    metrics: Metrics | None = None,
    openapi_url: str | None = f"{API}/openapi.json",
) -> FastAPI:
    """Return an application without routes, and with the state that all routes use."""
    app = FastAPI(
        title="Winnow",
        version=version(),
        openapi_url=openapi_url,
        # The library's own pages of descriptions would load scripts from elsewhere.
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
    app.state.provider = Provider(settings.oidc) if settings.oidc is not None else None
    app.state.lock = lock
    app.state.metrics = metrics or Metrics(app.state.projects)
    app.state.is_stopping = is_stopping or threading.Event()
    return app


def add_routes(app: FastAPI, modules: Sequence[ModuleType], port: int) -> None:
    """Add the routes of some modules, the pages and the guard. Raises `LookupError` for a route without a rule."""
    locals_ = [module.local for module in modules if hasattr(module, "local")]
    _apply_rules([route for router in (*(module.router for module in modules), *locals_) for route in router.routes])
    for router in locals_:
        app.include_router(router, dependencies=[Depends(authorise)])
    for module in modules:
        app.include_router(module.router, prefix=API, dependencies=[Depends(authorise)])
    add_handlers(app)
    settings: Settings = app.state.settings
    if settings.has_pages:
        add_pages(app)
    app.add_middleware(Guard, origins=settings.origins(port), answers=app.state.metrics.answers, streams=is_upload)


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
