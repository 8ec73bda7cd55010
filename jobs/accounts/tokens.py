"""Secrets that the server makes: only their hashes are stored, and they are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets

_BYTES = 32


def new_secret() -> str:
    """Return 256 random bits as 43 characters that a URL takes."""
    return secrets.token_urlsafe(_BYTES)


def new_id() -> str:
    """Return an id of 16 hexadecimal digits that says nothing; ids are no secrets."""
    return secrets.token_hex(8)


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hex; it has 256 random bits, so that nothing slower is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def matches(secret: str, expected: str) -> bool:
    """Return whether a secret has this digest."""
    return hmac.compare_digest(digest(secret), expected)
