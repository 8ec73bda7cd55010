"""One try to sign in with a provider, from the button to the way back: bound to the browser that began it.

All of it is made of a random value that the browser has as a cookie and nobody else: the `state` that the provider
sends back (RFC 6749, section 10.12), the `nonce` that is in its token (OpenID Connect Core 1.0, section 15.5.2), and
the verifier of PKCE (RFC 7636). The server stores nothing, so that a restart ends no try, and nobody can fill its
memory with tries.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from jobs.accounts.tokens import digest, new_secret

Purpose = Literal["sign_in", "link", "invitation"]

LASTS_S = 600
"""How long a try may take."""

_LONGEST = 4000


class InvitationAnswer(BaseModel):
    """What somebody chose who was invited; the token is that of the invitation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[str, Field(min_length=1, max_length=200)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    display_name: Annotated[str, Field(max_length=100)] = ""


class Kept(BaseModel):
    """What a browser keeps for the way back: an invitation, and the path that somebody was at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    invitation: InvitationAnswer | None = None
    before: Annotated[str, Field(max_length=1000, pattern=r"^/([^/\\]|$)[\x21-\x7e]*$")] = "/"

    @property
    def bound_to(self) -> str:
        """Return what identifies all of it."""
        return digest(self.model_dump_json())


@dataclass(frozen=True)
class Flow:
    """A try: its secret, when it began (s since 1970), what it is for, what is kept, and the session that links."""

    secret: str
    began_s: int
    purpose: Purpose
    kept: Kept = Kept()
    session_id: str = ""

    @classmethod
    def begin(cls, purpose: Purpose, kept: Kept | None = None, session_id: str = "") -> Flow:
        """Return a new try."""
        return cls(new_secret(), int(time.time()), purpose, kept or Kept(), session_id)

    @classmethod
    def of_cookie(cls, cookie: str, purpose: Purpose, session_id: str = "") -> Flow | None:
        """Return the try of a cookie; None where it is no such cookie, or is over."""
        began, _, rest = cookie.partition(".")
        secret, _, packed = rest.partition(".")
        if len(cookie) > _LONGEST or not secret or not (began.isascii() and began.isdecimal()):
            return None
        age = time.time() - int(began)
        if not -LASTS_S < age < LASTS_S:
            return None
        try:
            kept = Kept.model_validate_json(base64.urlsafe_b64decode(packed.encode() + b"=="))
        except ValueError:
            return None
        return cls(secret, int(began), purpose, kept, session_id)

    @property
    def cookie(self) -> str:
        """Return what the browser keeps."""
        return f"{self.began_s}.{self.secret}.{_text(self.kept.model_dump_json(exclude_defaults=True).encode())}"

    @property
    def state(self) -> str:
        """Return what the provider sends back; it begins with what the try is for."""
        words = ("state", str(self.began_s), self.purpose, self.kept.bound_to, self.session_id)
        return f"{self.purpose}.{self._derived(*words)}"

    @property
    def nonce(self) -> str:
        """Return what the provider's token has to have in it."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """Return what proves that who began asks for the token, 43 characters."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """Return the SHA-256 of the verifier (`S256`)."""
        return _text(hashlib.sha256(self.verifier.encode()).digest())

    def is_answered_by(self, state: str) -> bool:
        """Return whether a way back belongs to this try."""
        return hmac.compare_digest(self.state.encode(), state.encode("utf-8", "surrogatepass"))

    def _derived(self, *words: str) -> str:
        return _text(hmac.digest(self.secret.encode(), "\0".join(words).encode(), "sha256"))


def purpose_of(state: str) -> Purpose | None:
    """Return what a try is for by its state, which may be forged until it is compared."""
    found = state.partition(".")[0]
    return next((purpose for purpose in get_args(Purpose) if purpose == found), None)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
