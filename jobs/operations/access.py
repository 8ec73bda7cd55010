"""The control token of a workspace: whoever submits or controls jobs has to know it, if one is asked for.

The workspace keeps a salted hash only. A token guards commands, not files: whoever may write the workspace's files can
do without any command.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets

from jobs.errors import UserError
from jobs.storage import places
from jobs.storage.places import Place

VARIABLE = "WINNOW_CONTROL_TOKEN"
_LEAST_LENGTH = 16
# Costs of scrypt (RFC 7914): 16 MiB and some 50 ms for every guess.
_COSTS = {"n": 1 << 14, "r": 8, "p": 1}


def require(root: Place) -> None:
    """Raise `UserError` unless the workspace at `root` asks for no token, or the environment holds it."""
    try:
        kept = json.loads(places.read(_file(root)))
    except FileNotFoundError:
        return
    given = os.environ.get(VARIABLE)
    if not given:
        raise UserError(f"workspace {root} asks for a control token: set {VARIABLE} to it")
    costs = {name: int(kept[name]) for name in _COSTS}
    if not hmac.compare_digest(_hash(given, bytes.fromhex(kept["salt"]), costs), bytes.fromhex(kept["hash"])):
        raise UserError(f"{VARIABLE} is not the control token of workspace {root}")


def demand(root: Place) -> None:
    """Ask for the token of the environment from now on. Raises `UserError` for none, a short one, or a second one."""
    require(root)
    if places.exists(_file(root)):
        raise UserError(f"workspace {root} asks for this token already; drop it before you ask for another")
    given = os.environ.get(VARIABLE, "")
    if len(given) < _LEAST_LENGTH:
        raise UserError(
            f"{VARIABLE}: expected at least {_LEAST_LENGTH} characters, found {len(given)}; "
            "make one with `openssl rand -hex 16`"
        )
    salt = secrets.token_bytes(16)
    kept = {"salt": salt.hex(), "hash": _hash(given, salt, _COSTS).hex(), **_COSTS}
    places.make(_file(root).parent)
    places.write(_file(root), json.dumps(kept).encode() + b"\n")


def drop(root: Place) -> None:
    """Ask for no token any more; who says so has to know it. Raises `UserError`."""
    require(root)
    places.delete(_file(root))


def is_required(root: Place) -> bool:
    """Say whether the workspace at `root` asks for a token."""
    return places.exists(_file(root))


def _file(root: Place) -> Place:
    return root / "jobs" / "token.json"


def _hash(token: str, salt: bytes, costs: dict[str, int]) -> bytes:
    return hashlib.scrypt(token.encode(), salt=salt, **costs)
