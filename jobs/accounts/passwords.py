"""Passwords: what is accepted, and argon2id hashes of them (RFC 9106, the library's defaults: 64 MiB, 3 passes)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jobs.core.errors import UserError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST = 10
LONGEST = 1024
"""Characters of a password."""

_COMMON = 10_000


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


def check_acceptable(password: str, name: str = "") -> None:
    """Raise `UserError` for a password that is too short, too long, among the 10,000 most common ones, or the name."""
    if len(password) < SHORTEST:
        raise UserError(f"password: expected at least {SHORTEST} characters, found {len(password)}")
    if len(password) > LONGEST:
        raise UserError(f"password: expected at most {LONGEST:,} characters, found {len(password):,}")
    if password.casefold() == name.casefold() or len(set(password)) == 1:
        raise UserError("password: expected something that others cannot guess, found the name or one character")
    # The lists are large, and needed when a password is set alone.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    if password.casefold() in FREQUENCY_LISTS["passwords"][:_COMMON]:
        raise UserError("password: expected something that others cannot guess, found one of the most common ones")


def hashed(password: str) -> str:
    """Return the argon2id hash of a password, with its parameters and salt; takes about a third of a second."""
    return _hasher().hash(password)


@cache
def decoy() -> str:
    """Return the hash that is checked for names which do not exist, so that the answer takes the same time."""
    return hashed("a name that nobody has")


def is_right(password: str, stored: str | None) -> bool:
    """Return whether a password has this hash. Without one, False after the same time."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(stored or decoy(), password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Return whether a hash was made with other parameters than those of now."""
    return _hasher().check_needs_rehash(stored)
