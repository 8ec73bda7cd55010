"""People, invitations, keys and the audit."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from jobs.accounts import audit, invitations, keys, people
from jobs.accounts.invitations import Invitation
from jobs.accounts.keys import Key
from jobs.accounts.people import Person
from jobs.accounts.roles import Role, Scope
from jobs.web.identity import Accounts, Identity, Me, Options, address_of, role_in
from jobs.web.plain import utc
from jobs.web.problems import ForbiddenError, MissingError
from jobs.web.routes.bodies import Body, Name, Password, Token
from jobs.web.routes.session import begin_session_of, hashing_of

router = APIRouter(tags=["accounts"])


class NewUser(Body):
    """An account that an admin makes."""

    name: Name
    password: Password
    display_name: Annotated[str, Field(max_length=people.LONGEST_NAME)] = ""
    is_admin: bool = False


class UserChange(Body):
    """What an admin changes about an account."""

    disabled: bool | None = None
    is_admin: bool | None = None


class NewInvitation(Body):
    """An invitation to the server, and into a project if one is named."""

    project: Name | None = None
    role: Role | None = None
    is_admin: bool = False
    days: Annotated[int, Field(ge=1, le=invitations.MOST_DAYS)] = invitations.DAYS


class TokenBody(Body):
    """The token of an invitation."""

    token: Token


class Acceptance(Body):
    """What somebody chooses who was invited, or who sets a new password (for which the name is not needed)."""

    token: Token
    password: Password
    name: Annotated[str, Field(max_length=200)] = ""
    display_name: Annotated[str, Field(max_length=people.LONGEST_NAME)] = ""


class NewKey(Body):
    """A key for a program."""

    name: Annotated[str, Field(min_length=1, max_length=keys.LONGEST_NAME)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    project: Name | None = None
    days: Annotated[int, Field(ge=1, le=keys.MOST_DAYS)] = keys.DAYS


@router.get("/users", name="list_users")
def list_users(database: Accounts) -> Any:
    """Return all accounts."""
    with database.read() as connection:
        return {"users": [_user(person) for person in people.everyone(connection)]}


@router.post("/users", name="add_user", status_code=201)
async def add_user(body: NewUser, who: Me, request: Request, database: Accounts) -> Any:
    """Make an account. 409 for a name that is in use."""
    made = await hashing_of(request).run(lambda: people.new_password_hash(body.name, body.password))

    def add(connection: Any) -> Person:
        still_admin(connection, who)
        return people.add(connection, who.actor, body.name, made, body.display_name, body.is_admin)

    return _user(await run_in_threadpool(database.write, add))


@router.patch("/users/{user_id}", name="change_user")
def change_user(user_id: str, body: UserChange, who: Me, database: Accounts) -> Any:
    """Disable or enable an account, make it an admin or not. 409 where no admin would be left."""

    def change(connection: Any) -> Person:
        still_admin(connection, who)
        return people.change(connection, who.actor, user_id, body.disabled, body.is_admin)

    return _user(database.write(change))


@router.post("/users/{user_id}/reset", name="reset_user", status_code=201)
def reset_user(user_id: str, who: Me, database: Accounts) -> Any:
    """Return an address, for a day and one use, where this person sets a new password."""

    def reset(connection: Any) -> tuple[Invitation, str]:
        still_admin(connection, who)
        return invitations.reset(connection, who.actor, user_id)

    _, token = database.write(reset)
    return {"token": token, "address": f"/invite#{token}"}


@router.get("/invitations", name="list_invitations")
def list_invitations(database: Accounts) -> Any:
    """Return all invitations, the newest first."""
    with database.read() as connection:
        return {"invitations": [_invitation(found) for found in invitations.pending(connection)]}


@router.post("/invitations", name="add_invitation", status_code=201)
def add_invitation(body: NewInvitation, who: Me, request: Request, database: Accounts) -> Any:
    """Make an invitation and return its address, which is shown once."""
    if body.project is not None:
        request.app.state.projects.named(body.project)

    def invite(connection: Any) -> tuple[Invitation, str]:
        still_admin(connection, who)
        return invitations.invite(connection, who.actor, body.project, body.role, body.is_admin, body.days)

    made, token = database.write(invite)
    return {**_invitation(made), "token": token, "address": f"/invite#{token}"}


@router.delete("/invitations/{invitation_id}", name="revoke_invitation", status_code=204)
def revoke_invitation(invitation_id: str, who: Me, database: Accounts) -> None:
    """Revoke an invitation that nobody used."""

    def revoke(connection: Any) -> None:
        still_admin(connection, who)
        invitations.revoke(connection, who.actor, invitation_id)

    database.write(revoke)


@router.post("/invitations/check", name="check_invitation")
def check_invitation(body: TokenBody, database: Accounts) -> Any:
    """Return what an address is for, before it is used. 401 where it does not hold."""
    with database.read() as connection:
        found = invitations.find(connection, body.token, "invitation", "reset")
        name = people.by_id(connection, found.user_id).name if found.user_id else None
    return {"kind": found.kind, "project": found.project, "role": found.role, "name": name}


@router.post("/invitations/accept", name="accept_invitation", status_code=201)
async def accept_invitation(
    body: Acceptance, request: Request, response: Response, database: Accounts, options: Options
) -> Any:
    """Make the account that one was invited to, or set the new password, and sign in."""
    address = address_of(request)
    # The token comes first: nobody without one has passwords hashed here.
    found = await run_in_threadpool(check_invitation, TokenBody(token=body.token), database)
    name = found["name"] or body.name
    made = await hashing_of(request).run(lambda: people.new_password_hash(name, body.password))

    def accept(connection: Any) -> str:
        person = invitations.accept(connection, body.token, body.name, made, body.display_name, address)
        return person.user_id

    return await run_in_threadpool(begin_session_of, request, response, accept, database, options)


@router.get("/keys", name="list_keys")
def list_keys(who: Me, database: Accounts, everyone: bool = False) -> Any:
    """Return one's own keys, or those of all people for an admin who asks for everyone."""
    if everyone and not who.is_admin:
        raise ForbiddenError("this is for admins of the server")
    with database.read() as connection:
        return {"keys": [_key(key) for key in keys.all_of(connection, None if everyone else who.user_id)]}


@router.post("/keys", name="add_key", status_code=201)
def add_key(body: NewKey, who: Me, database: Accounts) -> Any:
    """Make a key of one's own and return its text, which is shown once."""
    if body.project is not None and role_in(database, who, body.project) is None:
        raise MissingError(f"there is no project {body.project!r}")
    if "admin" in body.scopes and not who.is_admin:
        raise ForbiddenError("the scope 'admin' is for admins of the server")
    key, text = database.write(
        lambda c: keys.add(c, who.actor, who.user_id, body.name, body.scopes, body.project, body.days)
    )
    return {**_key(key), "key": text}


@router.delete("/keys/{key_id}", name="revoke_key", status_code=204)
def revoke_key(key_id: str, who: Me, database: Accounts) -> None:
    """Revoke one's own key; admins revoke anybody's."""
    database.write(lambda c: keys.revoke(c, who.actor, key_id, None if who.is_admin else who.user_id))


@router.get("/audit", name="list_audit")
def list_audit(
    database: Accounts,
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    limit: Annotated[int, Query(ge=1, le=audit.MOST)] = 100,
    user: Annotated[str | None, Query(max_length=200)] = None,
    action: Annotated[str | None, Query(max_length=200)] = None,
) -> Any:
    """Return who changed which rights, and who signed in, the newest first."""
    with database.read() as connection:
        found = audit.entries(connection, before, limit, user, action)
    return {
        "entries": [
            {
                **{name: entry[name] for name in ("seq", "actor", "action", "target", "project", "detail", "address")},
                "at": utc(entry["at_ns"]),
            }
            for entry in found
        ]
    }


def still_admin(connection: Any, who: Identity) -> None:
    """Raise `ForbiddenError` where somebody lost the rights of an admin since the request came in."""
    person = people.by_id(connection, who.user_id)
    if person.disabled or not person.is_admin:
        raise ForbiddenError("this is for admins of the server")


def _user(person: Person) -> dict[str, Any]:
    return {
        "user_id": person.user_id,
        "name": person.name,
        "display_name": person.display_name,
        "is_admin": person.is_admin,
        "disabled": person.disabled,
        "created_at": utc(person.created_ns),
        "seen_at": utc(person.seen_ns),
    }


def _invitation(found: Invitation) -> dict[str, Any]:
    return {
        "invitation_id": found.invitation_id,
        "role": found.role,
        "project": found.project,
        "is_admin": found.is_admin,
        "by": found.created_by,
        "created_at": utc(found.created_ns),
        "expires_at": utc(found.expires_ns),
        "used_at": utc(found.used_ns),
    }


def _key(key: Key) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "project": key.project,
        "owner": key.owner,
        "created_at": utc(key.created_ns),
        "expires_at": utc(key.expires_ns),
        "used_at": utc(key.used_ns),
    }
