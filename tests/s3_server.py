"""An S3 server whose conditional writes are atomic, as those of S3 are: `python -m tests.s3_server PORT`.

That of moto looks for the key, and then writes it, in one thread per request: two writers could both be the first. It
also takes most of its time to find out which service a request is for, and to write listings as XML: both are shorter
here, since nearly all requests are for one, and a listing has few kinds of values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.responses import S3Response
from werkzeug.serving import run_simple

_CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")
_SIGNED = "/s3/aws4_request"
_LISTINGS = frozenset({"ListObjects", "ListObjectsV2"})
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class FirstS3:
    """A WSGI application that hands what is signed for S3 to it at once, and all else to moto's own dispatcher."""

    def __init__(self) -> None:
        self._any = DomainDispatcherApplication(create_backend_app)
        self._s3 = create_backend_app("s3")

    def __call__(self, environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        is_for_s3 = _SIGNED in environment.get("HTTP_AUTHORIZATION", "")
        return (self._s3 if is_for_s3 else self._any)(environment, start_response)


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


def write_listings() -> None:
    """Have listings written by `as_xml`; what they list is moto's work as before."""
    serialized = S3Response.serialized

    def shortly(self: Any, result: Any) -> Any:
        if self.data.get("Action") not in _LISTINGS:
            return serialized(self, result)
        listing = f'<ListBucketResult xmlns="{_NAMESPACE}">{as_xml(result.result)}</ListBucketResult>'
        headers = {"Content-Type": "application/xml", **self.response_headers}
        return 200, headers, f'<?xml version="1.0" encoding="utf-8"?>\n{listing}'

    S3Response.serialized = shortly  # type: ignore[assignment, method-assign]


def as_xml(values: Mapping[str, Any]) -> str:
    """Return values as elements: those of a list one after the other, mappings with elements of their own."""
    found = []
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                text = as_xml(each)
            else:
                text = str(each).lower() if isinstance(each, bool) else escape(str(each))
            found.append(f"<{name}>{text}</{name}>")
    return "".join(found)


if __name__ == "__main__":
    write_listings()
    served = OneConditionAtATime(FirstS3())
    run_simple("127.0.0.1", int(sys.argv[1]), served, threaded=True, request_handler=MotoRequestHandler)
