"""The token that a cluster of Ray may ask for: whether it does, and whether the one at hand is the right one.

Any cluster that Ray starts for itself leaves a token in the home folder, and whatever `ray start` starts from then on
asks for it. Who joins a cluster by its address shows none unless `$RAY_AUTH_MODE` says so; and who shows one to a
cluster that knows of none joins it, only to lose what it starts there. So a cluster is asked before it is joined.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs.core.errors import RunFailedError

MODE = "RAY_AUTH_MODE"
_WITH, _WITHOUT = "token", "disabled"
_PATIENCE_S = 60.0
_WHERE = "$RAY_AUTH_TOKEN or ~/.ray/auth_token"
_ASK = """
import sys
from ray._private.services import canonicalize_bootstrap_address
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(canonicalize_bootstrap_address(sys.argv[1]))
except AuthenticationError:
    print("refused")
else:
    print("admitted")
"""


def agree(ray: Any, address: str) -> None:
    """Let Ray show its token to the cluster at an address if that asks for one, and none if it does not.

    Raises `RunFailedError` where this process has been told the opposite, or has no token, or another.
    """
    said = os.environ.get(MODE, "").lower()
    admitted = _admits(address, _WITHOUT)
    if admitted is None:
        # Whatever keeps it from answering, Ray has words of its own for it.
        return
    if admitted and said == _WITH:
        raise RunFailedError(
            f"the Ray cluster at {address} asks for no token, but {MODE} is {_WITH}: unset it, or start the cluster "
            "with it"
        )
    if not admitted:
        _check_token(address, said)
    os.environ[MODE] = _WITHOUT if admitted else _WITH
    # Ray has read its environment when it was imported.
    ray._raylet.Config.initialize("")  # noqa: SLF001 - as Ray itself does where it finds a token


def _check_token(address: str, said: str) -> None:
    asks = f"the Ray cluster at {address} asks for a token"
    if said not in {"", _WITH}:
        raise RunFailedError(f"{asks}, but {MODE} is {said}: unset it, or set it to {_WITH}")
    if not said and not token():
        raise RunFailedError(f"{asks}, and none is here: put the token of the cluster's head into {_WHERE}")
    if _admits(address, _WITH) is False:
        raise RunFailedError(
            f"{asks}, and {_WHERE} holds another one: put that of the cluster's head there, or let "
            "RAY_AUTH_TOKEN_PATH name its file"
        )


def _admits(address: str, mode: str) -> bool | None:
    """Say whether a cluster lets somebody in who shows a token, or shows none; None where that cannot be told.

    A process of its own asks: in this one Ray would complain on the terminal, and keep to the mode it was asked in.
    """
    command = [sys.executable, "-c", _ASK, address]
    environment = {**os.environ, MODE: mode}
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, timeout=_PATIENCE_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    answer = done.stdout.strip()
    return {"admitted": True, "refused": False}.get(answer)


def token() -> str:
    """Return the token that clusters of Ray ask for, from where Ray looks for it; empty if there is none."""
    if given := os.environ.get("RAY_AUTH_TOKEN", ""):
        return given
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
