"""Connections of urllib3 whose whole calls have an end: its own limits are those of single reads.

An answer that trickles, in its head or in its body, would never end by these.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, Self

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from transforms.io.connection_watch import ConnectionWatch

_CALL = threading.local()


def _watch(connection: HTTPConnection) -> None:
    """Have the watch of the call that this thread makes end a connection, which may be one of an earlier call."""
    watch: ConnectionWatch | None = getattr(_CALL, "watch", None)
    if watch is not None and connection.sock is not None:
        # A connection that is closed already needs no watch.
        with suppress(OSError):
            watch.add(connection.sock)


class _WatchedConnection(HTTPConnection):
    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


class _WatchedTlsConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection


class WatchedPools(urllib3.PoolManager):
    """A pool manager whose calls of a thread can be watched, by `watched_by`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTlsPool}

    def watched_by(self, watch: ConnectionWatch) -> Self:
        """Have a watch end the calls that this thread makes from now on, until another one does."""
        _CALL.watch = watch
        return self
