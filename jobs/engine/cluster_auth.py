"""Authentication to Ray clusters: whether a cluster requires a token, and whether ours is valid.

Any cluster that Ray starts for itself leaves a token in the home folder, and clusters started later with `ray start`
require it. A client that joins by address sends no token unless `$RAY_AUTH_MODE` is set; and a client that sends one to
a cluster without authentication joins it, but loses what it starts there. So the cluster is probed before it is joined.
"""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.core.errors import RunFailedError
from jobs.core.interpreter import python, python_environment
from jobs.engine.loopback import environment_for
from jobs.storage.spare_files import spare_name

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
    """Set Ray to send its token to the cluster at an address if that requires one, and none otherwise.

    Raises `RunFailedError` if the environment contradicts this, or if the token is missing or wrong.
    """
    said = os.environ.get(MODE, "").lower()
    admitted = _admits(address, _WITHOUT)
    if admitted is None:
        # The cluster does not answer; joining it will fail with Ray's own error.
        return
    if admitted and said == _WITH:
        raise RunFailedError(
            f"the Ray cluster at {address} requires no token, but {MODE} is {_WITH}: unset it, or start the cluster "
            "with it"
        )
    if not admitted:
        _check_token(address, said)
    os.environ[MODE] = _WITHOUT if admitted else _WITH
    # Ray has read its environment when it was imported.
    ray._raylet.Config.initialize("")  # noqa: SLF001 - as Ray itself does where it finds a token


def _check_token(address: str, said: str) -> None:
    asks = f"the Ray cluster at {address} requires a token"
    if said not in {"", _WITH}:
        raise RunFailedError(f"{asks}, but {MODE} is {said}: unset it, or set it to {_WITH}")
    if not said and not token():
        raise RunFailedError(f"{asks}, found none: put the token of the cluster's head into {_WHERE}")
    if _admits(address, _WITH) is False:
        raise RunFailedError(
            f"{asks}, and {_WHERE} has another one: put that of the cluster's head there, or set "
            "RAY_AUTH_TOKEN_PATH to its file"
        )


def _admits(address: str, mode: str) -> bool | None:
    """Return whether a cluster accepts a client with a token, or without one; None if unknown.

    A separate process probes it: in this one, Ray would print to the terminal, and stay in the probed mode.
    """
    command = python("-c", _ASK, address)
    environment = {**python_environment(), MODE: mode, **environment_for(address)}
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, timeout=_PATIENCE_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    answer = done.stdout.strip()
    return {"admitted": True, "refused": False}.get(answer)


def token() -> str:
    """Return the token for Ray clusters, from where Ray reads it; empty if there is none."""
    if given := os.environ.get("RAY_AUTH_TOKEN", ""):
        return given
    try:
        return _file().read_text().strip()
    except (OSError, ValueError):
        return ""


def _file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def make_token_private() -> None:
    """See to it that there is a token, and that its file can be read by this account alone.

    Ray would make the file for anyone on the machine to read, who could then run programs under this account.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = _file()
    # Where it belongs to others, or the folder cannot be written, Ray itself says what is wrong.
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = path.with_name(spare_name(path.name, "tmp", secrets.token_hex(4)))
        if not path.exists():
            try:
                with open(made, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as handle:
                    handle.write(secrets.token_hex(32))
                # Whole, and never over that of another process that has just made one.
                os.link(made, path)
            finally:
                made.unlink(missing_ok=True)
        status = path.stat()
        if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & 0o077:
            path.chmod(0o600)
