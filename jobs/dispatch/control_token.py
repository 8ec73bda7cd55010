"""Control token of a workspace: required, if one is set, to submit or control jobs.

The workspace keeps a salted hash only. A token guards commands, not files: anyone who may write the workspace's files
can do without any command.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets

from jobs.core.errors import UserError, one_line
from jobs.storage.paths import Place

VARIABLE = "WINNOW_CONTROL_TOKEN"
_LEAST_LENGTH = 16
# Costs of scrypt (RFC 7914): 16 MiB and some 50 ms for every guess.
_COSTS = {"n": 1 << 14, "r": 8, "p": 1}


def check(root: Place) -> None:
    """Raise `UserError` unless the workspace at `root` requires no token, or the environment contains it."""
    path = _file(root)
    try:
        text = path.read()
    except FileNotFoundError:
        return
    given = _given()
    try:
        kept = json.loads(text)
        wanted = bytes.fromhex(kept["hash"])
        found = _hash(given, bytes.fromhex(kept["salt"]), {name: int(kept[name]) for name in _COSTS})
        if len(found) != len(wanted):
            raise ValueError("the hash is cut short")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        # A damaged file means that a token is required: it was set on purpose.
        raise UserError(
            f"workspace {root} asks for a control token, but {path} is damaged ({type(error).__name__}: "
            f"{one_line(error)}); bring it back from a backup, or delete it and run `winnow gateway require-token`"
        ) from error
    if not given:
        raise UserError(f"workspace {root} asks for a control token: set {VARIABLE} to it")
    if not hmac.compare_digest(found, wanted):
        raise UserError(f"{VARIABLE} is not the control token of workspace {root}")


def _given() -> str:
    """Return the token of the environment; empty for none. Raises `UserError` for what is no text."""
    given = os.environ.get(VARIABLE, "")
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{VARIABLE} is no text in UTF-8; make a token with `openssl rand -hex 16`") from error
    return given


def protect(root: Place) -> None:
    """Require the token of the environment from now on. Raises `UserError` for none, a short one, or a second one."""
    check(root)
    if _file(root).exists():
        raise UserError(f"workspace {root} asks for this token already; drop it before you ask for another")
    given = _given()
    if len(given) < _LEAST_LENGTH:
        raise UserError(
            f"{VARIABLE}: expected at least {_LEAST_LENGTH} characters, found {len(given)}; "
            "make one with `openssl rand -hex 16`"
        )
    salt = secrets.token_bytes(16)
    kept = {"salt": salt.hex(), "hash": _hash(given, salt, _COSTS).hex(), **_COSTS}
    _file(root).parent.make_folder()
    _file(root).write(json.dumps(kept).encode() + b"\n")


def unprotect(root: Place) -> None:
    """Require no token any more, which takes the token. Raises `UserError`."""
    check(root)
    _file(root).delete()


def _file(root: Place) -> Place:
    return root / "jobs" / "token.json"


def _hash(token: str, salt: bytes, costs: dict[str, int]) -> bytes:
    return hashlib.scrypt(token.encode(), salt=salt, **costs)
