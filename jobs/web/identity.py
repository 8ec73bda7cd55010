"""Who sends a request: the person of a session cookie or of a key, looked up each time, and what they may."""

from __future__ import annotations

import ipaddress
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Response

from jobs.accounts import keys, members, sessions
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database
from jobs.accounts.errors import NotSignedInError
from jobs.accounts.keys import Key
from jobs.accounts.roles import Role, includes
from jobs.accounts.sessions import LONGEST_S, Session
from jobs.core.errors import UserError
from jobs.web.problems import ForbiddenError, MissingError
from jobs.web.rules import RULES, RouteRule
from jobs.web.settings import Settings, is_loopback

_SIGN_IN = "sign in first, or send a key as Authorization: Bearer wnw_…"


@dataclass(frozen=True)
class Identity:
    """A person, and by which session or key they come; both are None where nobody is signed in."""

    user_id: str
    name: str
    display_name: str
    is_admin: bool
    address: str
    session: Session | None = None
    key: Key | None = None

    @property
    def actor(self) -> Actor:
        """Return who the audit names."""
        return Actor(self.name, self.user_id, self.address)


def cookie_name(settings: Settings) -> str:
    """Return the name of the session cookie; the prefix binds it to HTTPS and to this host (RFC 6265bis)."""
    return "__Host-winnow" if settings.is_https else "winnow"


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    """Give a browser the token of its session."""
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=LONGEST_S,
        path="/",
        secure=settings.is_https,
        httponly=True,
        samesite="lax",
    )


def clear_cookie(response: Response, settings: Settings, name: str | None = None) -> None:
    """Have a browser forget its session, or another cookie of ours."""
    response.delete_cookie(
        name or cookie_name(settings), path="/", secure=settings.is_https, httponly=True, samesite="lax"
    )


# Functions that only return something are async, so that no thread is taken for them.
async def _database(request: Request) -> Database:
    return database_of(request)


async def _settings(request: Request) -> Settings:
    return settings_of(request)


def database_of(request: Request) -> Database:
    """Return the accounts of the server that got a request."""
    return cast("Database", request.app.state.database)


def settings_of(request: Request) -> Settings:
    """Return the options of the server that got a request."""
    return cast("Settings", request.app.state.settings)


def address_of(request: Request) -> str:
    """Return the address that a request came from, behind proxies that are trusted; empty where that is none.

    A proxy may pass on what a client wrote into X-Forwarded-For.
    """
    try:
        return str(ipaddress.ip_address(request.client.host)) if request.client else ""
    except ValueError:
        return ""


def is_from_here(request: Request) -> bool:
    """Return whether a request comes from this machine, and no proxy could say so of another one's."""
    return settings_of(request).is_private and is_loopback(address_of(request))


def authorise(request: Request) -> Identity:
    """Return who sends a request, if they may use this route.

    Raises `NotSignedInError`, `ForbiddenError`, or `MissingError` for a project that is not theirs.
    """
    rule = RULES[request.scope["route"].name]
    if rule.needs == "nobody":
        return Identity("", "", "", False, address_of(request))
    found = identify(request)
    if found is None:
        raise NotSignedInError(_SIGN_IN)
    # Lines of errors depend on who reads them.
    request.state.is_admin = found.is_admin
    check(database_of(request), found, rule, request.path_params.get("project"))
    return found


def identify(request: Request) -> Identity | None:
    """Return who sends a request; None for nobody."""
    database, address = database_of(request), address_of(request)
    header = request.headers.get("authorization", "")
    if header.lower().startswith("bearer "):
        key = keys.look_up(database, header[len("bearer ") :].strip())
        if key is None:
            return None
        if key.is_due(time.time_ns()):
            # On a full disk, who may look at something still may.
            with suppress(UserError):
                database.write(lambda c: keys.note_use(c, key.key_id))
        return Identity(key.user_id, key.owner, key.owner, key.owner_is_admin, address, key=key)
    token = request.cookies.get(cookie_name(settings_of(request)))
    if not token:
        return None
    session = sessions.look_up(database, token)
    if session is None or (session.is_local and not is_from_here(request)):
        return None
    if session.is_due(time.time_ns()):
        with suppress(UserError):
            database.write(lambda c: sessions.note_use(c, session.session_id, address))
    return Identity(
        session.user_id, session.user_name, session.display_name, session.is_admin, address, session=session
    )


def check(database: Database, who: Identity, rule: RouteRule, project: str | None) -> None:
    """Raise `ForbiddenError` or `MissingError` where somebody may not use a route."""
    if who.key is not None:
        if rule.scope is None:
            raise ForbiddenError("this is for people who are signed in, not for keys")
        if rule.scope not in who.key.scopes:
            raise ForbiddenError(f"the key has no scope {rule.scope!r}")
        if who.key.project is not None and project != who.key.project and not rule.is_narrowed:
            raise ForbiddenError(f"the key is for project {who.key.project} alone")
    if rule.needs == "person":
        return
    if rule.needs == "server-admin":
        if not who.is_admin:
            raise ForbiddenError("this is for admins of the server")
        return
    assert project is not None, rule
    role = role_in(database, who, project)
    if role is None:
        raise MissingError(f"there is no project {project[:100]!r}")
    if not includes(role, cast("Role", rule.needs)):
        raise ForbiddenError(f"this needs the role {rule.needs} in the project, yours is {role}")


def role_in(database: Database, who: Identity, project: str) -> Role | None:
    """Return somebody's role in a project; admins of the server are admins of each."""
    if who.is_admin:
        return "admin"
    return members.look_up_role(database, project, who.user_id)


Me = Annotated[Identity, Depends(authorise)]
Accounts = Annotated[Database, Depends(_database)]
Options = Annotated[Settings, Depends(_settings)]
