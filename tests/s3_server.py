"""An S3 server whose conditional writes are atomic, as those of S3 are: `python -m tests.s3_server PORT`.

That of moto looks for the key, and then writes it, in one thread per request: two writers could both be the first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from threading import Lock
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")


class OneConditionAtATime:
    """A WSGI application that answers one conditional request after the other, and any other at once."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = Lock()

    def __call__(self, environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request; what is conditional has been written when the next one begins."""
        if not any(name in environment for name in _CONDITIONS):
            return list(self._app(environment, start_response))
        with self._lock:
            return list(self._app(environment, start_response))


if __name__ == "__main__":
    served = OneConditionAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), served, threaded=True, request_handler=MotoRequestHandler)
