"""Signing in and out, the person who is signed in, and where they are."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from jobs.accounts import audit, invitations, members, passwords, people, sessions, sign_in
from jobs.accounts.audit import Actor
from jobs.accounts.database import Database
from jobs.accounts.errors import NotSignedInError, TooManyTriesError, UnknownAccountError
from jobs.accounts.sign_in import Try
from jobs.core.errors import UserError
from jobs.web.hashing import Hashing
from jobs.web.identity import (
    Accounts,
    Identity,
    Me,
    Options,
    address_of,
    clear_cookie,
    cookie_name,
    is_from_here,
    set_cookie,
    settings_of,
)
from jobs.web.plain import utc
from jobs.web.problems import ForbiddenError
from jobs.web.routes.bodies import Body, Name, Password, Token
from jobs.web.version import build, version

router = APIRouter(tags=["session"])


class SignIn(Body):
    """A name and its password."""

    name: Name
    password: Password


class Enter(Body):
    """The token of a one-time address."""

    token: Token


class NewPassword(Body):
    """The password that was, and the one that is to be."""

    old: Password
    new: Password


class ProfileChange(Body):
    """What somebody changes about themselves."""

    display_name: Annotated[str, Field(min_length=1, max_length=people.LONGEST_NAME)] | None = None
    password: NewPassword | None = None


def hashing_of(request: Request) -> Hashing:
    """Return the threads that hash passwords."""
    return cast("Hashing", request.app.state.hashing)


@router.post("/session", name="sign_in")
async def begin(body: SignIn, request: Request, response: Response, database: Accounts, options: Options) -> Any:
    """Sign in with a name and a password; the session is a cookie. 401 for a wrong one, 429 after too many."""
    address = address_of(request)
    attempt = await run_in_threadpool(database.write, lambda c: sign_in.begin(c, body.name, address))
    hashing = hashing_of(request)
    if not await _is_right(attempt, body.password, hashing, database):
        await run_in_threadpool(database.write, lambda c: sign_in.fail(c, attempt))
        raise NotSignedInError(sign_in.WRONG)
    assert attempt.stored is not None
    outdated = passwords.is_outdated(attempt.stored)
    rehashed = await hashing.run(lambda: passwords.hashed(body.password)) if outdated else None
    agent = request.headers.get("user-agent", "")
    return await run_in_threadpool(
        _begun, request, response, lambda c: sign_in.succeed(c, attempt, agent, rehashed), database, options
    )


@router.post("/session/enter", name="enter")
def enter(body: Enter, request: Request, response: Response, database: Accounts, options: Options) -> Any:
    """Sign in with the one-time address that the terminal printed; for browsers on the server's machine."""
    address = address_of(request)
    if not is_from_here(request):
        raise ForbiddenError("this address is for browsers on the machine of the server")

    def session(connection: Any) -> str:
        found = invitations.use(connection, body.token, "enter")
        assert found.user_id is not None
        if people.by_id(connection, found.user_id).disabled:
            raise NotSignedInError(sign_in.WRONG)
        audit.record(connection, Actor(people.LOCAL_NAME, found.user_id, address), "session.begin")
        agent = request.headers.get("user-agent", "")
        return sessions.begin(connection, found.user_id, address, agent, is_local=True)

    return _begun(request, response, session, database, options)


@router.delete("/session", name="sign_out", status_code=204)
def end(who: Me, response: Response, database: Accounts, options: Options) -> None:
    """Sign out: the session is over at once."""
    session = who.session
    if session is not None:
        database.write(lambda c: sessions.end(c, who.user_id, session.session_id))
    # Who uses this browser next sees no images of the one before.
    response.headers["clear-site-data"] = '"cache"'
    clear_cookie(response, options)


@router.get("/me", name="me")
def me(who: Me, request: Request, database: Accounts) -> Any:
    """Return who is signed in, with their role in each project."""
    return about(who, request, database)


@router.patch("/me", name="change_me")
async def change(body: ProfileChange, who: Me, request: Request, database: Accounts) -> Any:
    """Change one's own name or password; a new password ends all other sessions."""
    assert who.session is not None
    session_id = who.session.session_id
    attempt, new_hash = None, ""
    if body.password is not None:
        hashing, new = hashing_of(request), body.password.new
        attempt = await run_in_threadpool(database.write, lambda c: sign_in.begin(c, who.name, who.address))
        if not await _is_right(attempt, body.password.old, hashing, database):
            await run_in_threadpool(database.write, lambda c: sign_in.fail(c, attempt))
            raise UserError("password.old: not the password of this account")
        new_hash = await hashing.run(lambda: people.new_password_hash(who.name, new))

    def change_all(connection: Any) -> None:
        if attempt is not None:
            sign_in.confirm(connection, attempt)
            people.set_password(connection, who.actor, who.user_id, new_hash, session_id)
        if body.display_name is not None:
            people.set_display_name(connection, who.user_id, body.display_name)

    await run_in_threadpool(database.write, change_all)
    return await run_in_threadpool(lambda: about(_again(who, database), request, database))


@router.get("/sessions", name="list_sessions")
def list_sessions(who: Me, database: Accounts) -> Any:
    """Return where one is signed in."""
    with database.read() as connection:
        found = sessions.of_person(connection, who.user_id)
    current = who.session.session_id if who.session else None
    return {
        "sessions": [
            {
                "session_id": session.session_id,
                "created_at": utc(session.created_ns),
                "seen_at": utc(session.seen_ns),
                "address": session.address,
                "agent": session.agent,
                "current": session.session_id == current,
            }
            for session in found
        ]
    }


@router.delete("/sessions/{session_id}", name="end_session", status_code=204)
def end_session(session_id: str, who: Me, database: Accounts) -> None:
    """End one of one's own sessions."""
    if not database.write(lambda c: sessions.end(c, who.user_id, session_id)):
        raise UnknownAccountError("there is no such session")


async def _is_right(attempt: Try, password: str, hashing: Hashing, database: Database) -> bool:
    """Return whether a password is right; a try that is not checked, since too many are waiting, counts as none."""
    try:
        return await hashing.run(lambda: attempt.is_right(password))
    except TooManyTriesError:
        await run_in_threadpool(database.write, lambda c: sign_in.give_up(c, attempt))
        raise


def about(who: Identity, request: Request, database: Database) -> dict[str, Any]:
    """Return what a page needs to know of the person who is signed in."""
    with database.read() as connection:
        roles = members.projects_of(connection, who.user_id)
    names = [project.name for project in request.app.state.projects.all()]
    return {
        "user": {
            "user_id": who.user_id,
            "name": who.name,
            "display_name": who.display_name,
            "is_admin": who.is_admin,
        },
        "projects": [
            {"project": name, "role": "admin" if who.is_admin else roles[name]}
            for name in names
            if (who.is_admin or name in roles) and (who.key is None or who.key.project in {None, name})
        ],
        "loopback": settings_of(request).is_loopback,
        "version": version(),
        "build": build(),
    }


def _again(who: Identity, database: Database) -> Identity:
    with database.read() as connection:
        person = people.by_id(connection, who.user_id)
    return Identity(
        person.user_id, person.name, person.display_name, person.is_admin, who.address, who.session, who.key
    )


def begin_session_of(request: Request, response: Response, person: Any, database: Database, options: Any) -> Any:
    """Begin a session of the person whose id some work in a transaction returns."""
    agent = request.headers.get("user-agent", "")
    address = address_of(request)
    return _begun(request, response, lambda c: sessions.begin(c, person(c), address, agent), database, options)


def _begun(request: Request, response: Response, work: Any, database: Database, options: Any) -> dict[str, Any]:
    """Begin a session, end the one that the browser had, and say who is signed in."""
    old = request.cookies.get(cookie_name(options))

    def session(connection: Any) -> str:
        token: str = work(connection)
        if old and (before := sessions.find(connection, old)):
            sessions.end(connection, before.user_id, before.session_id)
        return token

    token = database.write(session)
    set_cookie(response, options, token)
    with database.read() as connection:
        found = sessions.find(connection, token)
    if found is None:
        # Disabled in the moment between.
        raise NotSignedInError(sign_in.WRONG)
    who = Identity(found.user_id, found.user_name, found.display_name, found.is_admin, address_of(request), found)
    return about(who, request, database)
