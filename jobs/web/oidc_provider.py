"""An OpenID provider as a client sees it: discovery, the address to sign in at, and what its tokens say.

Code flow with PKCE alone (OpenID Connect Core 1.0, section 3.1). Of a token are checked: the signature, by a key that
the provider publishes and never by a shared or no one, the issuer, the audience, the times and the nonce. Requests take
ten seconds and 1 MiB at most and follow no redirect; nothing of an answer is repeated but names of errors.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from jobs.accounts.errors import NotSignedInError, TooManyTriesError, UnreachableError
from jobs.accounts.identities import LONGEST_SUBJECT
from jobs.web.oidc_flow import Flow

if TYPE_CHECKING:
    from jobs.web.oidc_settings import OidcSettings

CALL_S = 10.0
MOST_BYTES = 1 << 20
LEEWAY_S = 120
"""How much the clocks of the provider and of this machine may differ."""

_KEPT_S = 3600.0
_AGAIN_S = 60.0
_TOGETHER = 4
# No secret of ours is shared for signatures, and nothing is left unsigned.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_KINDS = ("RSA", "EC", "OKP")
_MOST_KEYS = 50
_MOST_TOKEN = 1 << 16
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclass(frozen=True)
class Described:
    """What a provider says of itself."""

    authorization: str
    token: str
    keys: str
    sends_secret_in_body: bool
    names_itself: bool
    read_at: float


@dataclass(frozen=True)
class Subject:
    """Whom a token is about; `name` and `display_name` are what the provider suggests, and say nothing of rights."""

    issuer: str
    subject: str
    name: str
    display_name: str


class Provider:
    """A provider; safe to use from many threads. Nothing is asked of it before somebody signs in."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._turn = threading.Lock()
        self._calls = threading.BoundedSemaphore(_TOGETHER)
        self._described: Described | None = None
        self._keys: list[Any] = []
        self._keys_at = float("-inf")

    @property
    def name(self) -> str:
        """Return what people call it."""
        return self.settings.name

    def address(self, flow: Flow, back: str) -> str:
        """Return where a browser signs in, and comes back from to `back`. Raises `UnreachableError`."""
        described = self._description()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": back,
            "scope": " ".join(self.settings.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(described.authorization).query else "?"
        return f"{described.authorization}{joint}{urlencode(query)}"

    def subject(self, flow: Flow, code: str, back: str, issuer: str | None) -> Subject:
        """Return whom a code is about, which holds once.

        `issuer` is what the way back names (RFC 9207). Raises `NotSignedInError` where the provider refuses it, or says
        something that is not for this server and this try, `UnreachableError` where it does not answer.
        """
        described = self._description()
        if issuer is None and described.names_itself:
            raise _refused("the way back does not name the provider")
        if issuer is not None and issuer != self.settings.issuer:
            raise _refused("the way back is from another provider")
        token = self._token(described, flow, code, back)
        claims = self._claims(described, token)
        self._check(claims, flow)
        return Subject(
            self.settings.issuer,
            claims["sub"],
            _words(claims.get("preferred_username")) or claims["sub"],
            _words(claims.get("name")),
        )

    def _description(self) -> Described:
        with self._turn:
            known = self._described
        if known is not None and time.monotonic() - known.read_at < _KEPT_S:
            return known
        issuer = self.settings.issuer
        found = self._object("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            # Otherwise another provider's tokens could be taken for this one's (mix-up).
            raise UnreachableError(f"{self.name}: its description is of another issuer than {issuer}")
        methods = found.get("code_challenge_methods_supported")
        if isinstance(methods, list) and "S256" not in methods:
            raise UnreachableError(
                f"{self.name}: expected a provider with PKCE (S256), found {len(methods)} other ways"
            )
        ways = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        described = Described(
            self._endpoint(found, "authorization_endpoint"),
            self._endpoint(found, "token_endpoint"),
            self._endpoint(found, "jwks_uri"),
            isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
            found.get("authorization_response_iss_parameter_supported") is True,
            time.monotonic(),
        )
        with self._turn:
            self._described = described
        return described

    def _endpoint(self, found: Mapping[str, Any], name: str) -> str:
        """Return an address of a description: encrypted, or of the very server that is named without encryption."""
        url = found.get(name)
        own = urlsplit(self.settings.issuer)
        is_right = False
        if isinstance(url, str) and url.isascii() and url.isprintable():
            with suppress(ValueError):
                parts = urlsplit(url)
                is_near = parts.scheme == "https" or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
                is_right = is_near and bool(parts.hostname) and not parts.username and not parts.fragment
        if not isinstance(url, str) or not is_right:
            raise UnreachableError(f"{self.name}: its description has no usable {name}")
        return url

    def _token(self, described: Described, flow: Flow, code: str, back: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": flow.verifier,
        }
        headers = {"accept": "application/json"}
        secret = self.settings.secret.get_secret_value() if self.settings.secret else None
        if secret is None or described.sends_secret_in_body:
            form["client_id"] = self.settings.client_id
        if secret is not None and described.sends_secret_in_body:
            form["client_secret"] = secret
        found = self._object(
            "POST",
            described.token,
            data=form,
            headers=headers,
            # Both are form-encoded before they are joined (RFC 6749, section 2.3.1).
            auth=(quote(self.settings.client_id, safe=""), quote(secret, safe=""))
            if secret is not None and not described.sends_secret_in_body
            else None,
        )
        token = found.get("id_token")
        if not isinstance(token, str) or len(token) > _MOST_TOKEN or not token.isascii():
            raise _refused("the provider sent no identity")
        return token

    def _claims(self, described: Described, token: str) -> dict[str, Any]:
        """Return what a token says whose signature is right."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        for attempt in range(2):
            for key in self._candidates(self._published(described, is_again=attempt > 0), token):
                try:
                    return dict(jwt.decode(token, key, algorithms=_ALGORITHMS).claims)
                except (JoseError, ValueError, TypeError):
                    continue
        raise _refused("no key of the provider has signed what it sent")

    def _candidates(self, keys: Iterable[Any], token: str) -> list[Any]:
        """Return the keys that may have signed a token: the one that it names, or all where it names none."""
        from joserfc.errors import JoseError
        from joserfc.util import urlsafe_b64decode

        try:
            header = json.loads(urlsafe_b64decode(token.partition(".")[0].encode()))
            kid = header.get("kid")
        except (ValueError, AttributeError, JoseError) as error:
            raise _refused("the provider sent no identity") from error
        return [key for key in keys if kid is None or key.kid == kid]

    def _published(self, described: Described, is_again: bool) -> list[Any]:
        """Return the provider's keys; `is_again` fetches them, once a minute at most, since it may have new ones."""
        from joserfc import jwk
        from joserfc.errors import JoseError

        with self._turn:
            age = time.monotonic() - self._keys_at
            if age < (_AGAIN_S if is_again else _KEPT_S):
                return self._keys
        found = self._object("GET", described.keys).get("keys")
        made: list[Any] = []
        for each in found[:_MOST_KEYS] if isinstance(found, list) else ():
            if isinstance(each, dict) and each.get("kty") in _KINDS and each.get("use", "sig") == "sig":
                try:
                    made.append(jwk.import_key(each))
                except (JoseError, ValueError, TypeError, KeyError):
                    # A kind of key that is newer than the library.
                    continue
        with self._turn:
            self._keys, self._keys_at = made, time.monotonic()
        return made

    def _check(self, claims: Mapping[str, Any], flow: Flow) -> None:
        """Raise `NotSignedInError` for claims that are not of this provider, for this server and about this try."""
        client = self.settings.client_id
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        now = time.time()
        subject = claims.get("sub")
        if claims.get("iss") != self.settings.issuer:
            raise _refused("what it sent is of another issuer")
        if (
            client not in audiences
            or claims.get("azp", client) != client
            or (len(audiences) > 1 and "azp" not in claims)
        ):
            raise _refused("what it sent is for another program")
        if not _is_number(claims.get("exp")) or claims["exp"] + LEEWAY_S < now:
            raise _refused("what it sent is too old; compare the clocks of both machines")
        if not _is_number(claims.get("iat")) or claims["iat"] - LEEWAY_S > now:
            raise _refused("what it sent is of the future; compare the clocks of both machines")
        if claims.get("nonce") != flow.nonce:
            raise _refused("what it sent belongs to another try")
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or "\0" in subject:
            raise _refused("what it sent has no subject")
        for name, wanted in self.settings.claims.items():
            said = claims.get(name)
            if not (wanted in said if isinstance(said, list) else said == wanted and type(said) is type(wanted)):
                raise NotSignedInError(f"{self.name} does not say of you what this server asks of everybody: {name}")

    def _object(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        """Return the object that an address answers with."""
        import httpx2

        from jobs.core.bounded_http import BoundedClient, RefusedAnswerError

        if not self._calls.acquire(blocking=False):
            raise TooManyTriesError(CALL_S / 2)
        try:
            with BoundedClient(CALL_S, MOST_BYTES, "the file of --oidc") as client:
                answer = client.request(method, url, **options)
        except (httpx2.HTTPError, RefusedAnswerError, OSError, ValueError) as error:
            # Its words may quote the request.
            raise UnreachableError(f"{self.name} does not answer as expected ({type(error).__name__})") from error
        finally:
            self._calls.release()
        found: Any = None
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            found = None
        if method == "POST" and answer.status_code in {400, 401, 403}:
            said = found.get("error") if isinstance(found, dict) else None
            raise _refused(said if isinstance(said, str) and _WORD.fullmatch(said) else f"status {answer.status_code}")
        if answer.status_code != 200 or not isinstance(found, dict):
            raise UnreachableError(f"{self.name} does not answer as expected (status {answer.status_code})")
        return found


def _refused(why: str) -> NotSignedInError:
    return NotSignedInError(f"signing in failed: {why}; try again")


def _words(value: Any) -> str:
    return value.strip()[:LONGEST_SUBJECT] if isinstance(value, str) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
