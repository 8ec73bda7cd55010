"""Signing in with an OpenID provider, and the identities that are linked with an account.

The provider sends the browser back to a page, `/oidc`, which passes on what it brings: so that errors are shown as
everywhere, and the way back is a write from the server's own page.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError

from jobs.accounts import identities, invitations, names, people, sessions, sign_in
from jobs.accounts.database import Database
from jobs.accounts.errors import NotSignedInError, TooManyTriesError, UnreachableError
from jobs.accounts.sessions import Session
from jobs.core.errors import UserError
from jobs.web import oidc_flow
from jobs.web.identity import Accounts, Identity, Me, Options, address_of, clear_cookie, cookie_name, identify
from jobs.web.oidc_flow import LASTS_S, Flow, InvitationAnswer, Kept, Purpose
from jobs.web.oidc_provider import Provider, Subject
from jobs.web.plain import utc
from jobs.web.problems import ForbiddenError, MissingError
from jobs.web.routes.bodies import Body
from jobs.web.routes.session import begin_session_of
from jobs.web.settings import Settings

router = APIRouter(tags=["session"])

PAGE = "/oidc"
"""The page that a provider sends browsers back to."""


class Begin(Body):
    """What somebody wants of the provider: `invitation` for that purpose alone; `before` is the path they were at."""

    purpose: Purpose
    invitation: InvitationAnswer | None = None
    before: Annotated[str, Field(max_length=1000)] = "/"


class Finish(Body):
    """What the provider sent back; `iss` where it names itself."""

    code: Annotated[str, Field(min_length=1, max_length=4096)]
    state: Annotated[str, Field(min_length=1, max_length=200)]
    iss: Annotated[str, Field(max_length=1000)] | None = None


def provider_of(request: Request) -> Provider:
    """Return the provider. Raises `MissingError` where the server has none."""
    found = cast("Provider | None", request.app.state.provider)
    if found is None:
        raise MissingError("this server has no OpenID provider; `winnow serve --oidc FILE` names one")
    return found


@router.get("/session/ways", name="sign_in_ways")
async def ways(request: Request) -> Any:
    """Return how people sign in here: `oidc` has the name of the provider, None for none."""
    found = cast("Provider | None", request.app.state.provider)
    return {"password": True, "oidc": found.name if found else None}


@router.post("/session/oidc", name="begin_oidc")
def begin(body: Begin, request: Request, response: Response, database: Accounts, options: Options) -> Any:
    """Return the address of the provider to go to. 401 for an invitation that does not hold."""
    provider = provider_of(request)
    if (body.purpose == "invitation") != (body.invitation is not None):
        raise UserError("invitation: expected one for the purpose invitation, and none for others")
    if body.invitation is not None:
        names.checked_name(body.invitation.name)
        _check_holds(body.invitation, database)
    try:
        kept = Kept(invitation=body.invitation, before=body.before)
    except ValidationError:
        # Where somebody was is no reason to keep them out.
        kept = Kept(invitation=body.invitation)
    session_id = _linking(request).session_id if body.purpose == "link" else ""
    flow = Flow.begin(body.purpose, kept, session_id)
    address = provider.address(flow, _back(request))
    response.set_cookie(
        _cookie(options),
        flow.cookie,
        max_age=LASTS_S,
        path="/",
        secure=options.is_https,
        httponly=True,
        samesite="strict",
    )
    return {"address": address}


@router.post("/session/oidc/finish", name="finish_oidc")
def finish(body: Finish, request: Request, response: Response, database: Accounts, options: Options) -> Any:
    """Sign in, make the account of an invitation, or link an identity, by what the provider sent back.

    401 where it does not belong to a try of this browser, or to nobody who has an account here.
    """
    provider = provider_of(request)
    purpose = oidc_flow.purpose_of(body.state)
    flow = None
    if purpose is not None:
        session_id = _linking(request).session_id if purpose == "link" else ""
        flow = Flow.of_cookie(request.cookies.get(_cookie(options), ""), purpose, session_id)
    if flow is None or not flow.is_answered_by(body.state):
        raise NotSignedInError("signing in failed: this belongs to no try of this browser, or took too long; try again")
    clear_cookie(response, options, _cookie(options))
    chosen = flow.kept.invitation
    if chosen is not None:
        # The provider is not asked where nothing can come of it.
        _check_holds(chosen, database)
    address = address_of(request)
    database.write(lambda c: sign_in.begin_by_address(c, address))
    try:
        found = provider.subject(flow, body.code, _back(request), body.iss)
    except (TooManyTriesError, UnreachableError):
        database.write(lambda c: sign_in.end_by_address(c, address))
        raise
    except NotSignedInError:
        database.write(lambda c: sign_in.note_refusal(c, address))
        raise
    database.write(lambda c: sign_in.end_by_address(c, address))
    if purpose == "link":
        return _link(found, request, database)

    def enter(connection: Any) -> str:
        if chosen is not None:
            person = identities.accept(
                connection, chosen.token, chosen.name, chosen.display_name, found.issuer, found.subject, address
            )
            return person.user_id
        known = identities.enter(connection, found.issuer, found.subject, address)
        if known is None:
            if provider.settings.new_accounts != "anybody":
                raise NotSignedInError(
                    f"nobody here has this identity of {provider.name}: open your invitation and choose "
                    f"{provider.name} there, or sign in with your password and link it under Account"
                )
            known = identities.add_person(
                connection, found.name, found.display_name, found.issuer, found.subject, address
            )
        return known.user_id

    about = begin_session_of(request, response, enter, database, options)
    return {**about, "before": flow.kept.before}


@router.get("/identities", name="list_identities")
def list_identities(who: Me, database: Accounts) -> Any:
    """Return the identities by which one signs in."""
    with database.read() as connection:
        found = identities.of_person(connection, who.user_id)
    return {
        "identities": [
            {
                "identity_id": each.identity_id,
                "issuer": each.issuer,
                "subject": each.subject,
                "created_at": utc(each.created_ns),
            }
            for each in found
        ]
    }


@router.delete("/identities/{identity_id}", name="unlink_identity", status_code=204)
def unlink_identity(identity_id: str, who: Me, database: Accounts) -> None:
    """Sign in by an identity no longer. 409 where nothing else would sign one in."""
    database.write(lambda c: identities.unlink(c, who.actor, who.user_id, identity_id))


def _link(found: Subject, request: Request, database: Database) -> Any:
    who = _signed_in(request)
    token = request.cookies.get(cookie_name(request.app.state.settings), "")

    def link(connection: Any) -> None:
        if sessions.find(connection, token) is None:
            raise NotSignedInError("your session has ended; sign in first")
        identities.link(connection, who.actor, who.user_id, found.issuer, found.subject)

    database.write(link)
    return {"linked": True}


def _check_holds(chosen: InvitationAnswer, database: Database) -> None:
    """Raise `NotSignedInError` for an invitation that was used, revoked, or is too old."""
    with database.read() as connection:
        invitations.find(connection, chosen.token, "invitation")


def _linking(request: Request) -> Session:
    """Return the session of somebody who links an identity."""
    session = _signed_in(request).session
    assert session is not None
    return session


def _signed_in(request: Request) -> Identity:
    who = identify(request)
    if who is None or who.session is None:
        raise NotSignedInError("sign in first: an identity is linked with the account that is signed in")
    if who.session.is_local or who.name == people.LOCAL_NAME:
        raise ForbiddenError("the account of this machine's terminal signs in there alone; use an account of your own")
    return who


def _back(request: Request) -> str:
    """Return where the provider sends the browser back to: the page's own server, whose name was checked."""
    origin = request.headers.get("origin", "").lower()
    if not origin:
        raise ForbiddenError("this is for browsers")
    return f"{origin}{PAGE}"


def _cookie(options: Settings) -> str:
    return f"{cookie_name(options)}-oidc"
