"""Clusters that listen on this machine alone: Ray's own ones of a run, which nobody else has to reach.

On Linux, Ray takes the address of the machine's network for its clusters, and listens on all of them; on macOS and
Windows it takes the one of loopback, where its firewalls would ask. That choice is made here for the time of a start.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The environment variable with which a process of Ray makes the same choice, `0` for loopback."""

_CONSTANT = "ENABLE_RAY_CLUSTER"
_CONNECT_S = 2.0
_LOOPBACK = ("127.", "localhost", "::1", "[::1]")


@contextmanager
def on_loopback() -> Iterator[None]:
    """Have what Ray starts or joins meanwhile be on this machine's loopback address."""
    constants: Any = importlib.import_module("ray._private.ray_constants")
    before = getattr(constants, _CONSTANT)
    setattr(constants, _CONSTANT, False)
    try:
        yield
    finally:
        setattr(constants, _CONSTANT, before)


def reaching(address: str) -> Any:
    """Return a context in which a cluster at an address can be joined, also one that is on loopback alone."""
    return on_loopback() if is_on_loopback(address) else nullcontext()


def is_on_loopback(address: str) -> bool:
    """Return whether the cluster at HOST:PORT is on this machine and cannot be reached by its network."""
    host, _, port = address.rpartition(":")
    if not host.startswith(_LOOPBACK) or not port.isdecimal():
        return False
    own = importlib.import_module("ray._common.network_utils").node_ip_address_from_perspective()
    return own.startswith(_LOOPBACK) or not _answers(own, int(port))


def environment_for(address: str) -> dict[str, str]:
    """Return what the environment of a process needs in addition to ask the cluster at an address."""
    return {SWITCH: "0"} if is_on_loopback(address) else {}


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _CONNECT_S):
            return True
    except OSError:
        return False
