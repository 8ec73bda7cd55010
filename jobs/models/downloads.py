"""Downloads of weights, bounded: a largest size, a time for the whole, and no other host without a word about it.

Files of releases and of the hub are served by other hosts than the one that the catalogue names, so that redirects are
followed: never from `https` to anything else, and each host is reported. What a file contains is checked by its hash.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from jobs.core.errors import RunFailedError, one_line
from transforms.io.connection_watch import ConnectionWatch

MOST_BYTES = 32 << 30
"""The largest file whose size the catalogue does not name."""

_CHUNK = 1 << 20
_READ_S = 60.0
_LEAST_S = 600.0
_SLOWEST_BYTES_S = 100_000
_MOST_DIGITS = 19
_SCHEMES = ("http", "https")
_WHAT_HELPS = "without a network, copy the file here and pass it with --from"

OnNote = Callable[[str], None]
"""Called with what the user should know of a download: which other host it came from."""


def seconds_for(n_bytes: int) -> float:
    """Return how many seconds a download of a size may take: ten minutes, and 100 kB a second."""
    return _LEAST_S + n_bytes / _SLOWEST_BYTES_S


@dataclass(frozen=True)
class Download:
    """A file that is being downloaded: its size in bytes, None where the server does not say it, and its pieces."""

    n_bytes: int | None
    pieces: Iterator[bytes]


@contextmanager
def download(url: str, most_bytes: int, too_large: str, on_note: OnNote) -> Iterator[Download]:
    """Give the file at a URL. Raises `RunFailedError`, also while its pieces are read.

    `too_large` is what to say of a file of more than `most_bytes`.
    """
    total_s = seconds_for(most_bytes)
    with ConnectionWatch(total_s) as watch:
        opener = urllib.request.build_opener(_Http(watch), _Https(watch), _Redirects(Hosts(url, on_note)))
        opener.addheaders = [("User-Agent", "winnow"), ("Accept-Encoding", "identity")]
        with _as_failures(url, watch, total_s):
            answer = opener.open(url, timeout=_READ_S)
        with answer:
            said = answer.headers.get("Content-Length", "").strip()
            n_bytes = int(said) if said.isdecimal() and len(said) < _MOST_DIGITS else None
            if n_bytes is not None and n_bytes > most_bytes:
                raise RunFailedError(too_large)
            yield Download(n_bytes, _pieces(answer, url, watch, total_s, most_bytes, too_large))


def _pieces(
    answer: Any, url: str, watch: ConnectionWatch, total_s: float, most_bytes: int, too_large: str
) -> Iterator[bytes]:
    done = 0
    while True:
        with _as_failures(url, watch, total_s):
            # What has come by now; `read` would wait for a whole chunk.
            piece = answer.read1(_CHUNK)
            # An ended connection looks like the end of a file whose size is not known.
            if watch.is_over:
                raise TimeoutError
        if not piece:
            return
        done += len(piece)
        if done > most_bytes:
            raise RunFailedError(too_large)
        yield piece


@contextmanager
def _as_failures(url: str, watch: ConnectionWatch, total_s: float) -> Iterator[None]:
    """Raise what goes wrong on the network as one line."""
    try:
        yield
    # URLError among them, which is an OSError; ValueError is for URLs and headers that make no sense.
    except (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError, HTTPException, ValueError) as error:
        said = f"no whole file within {total_s:,.0f} s" if watch.is_over else one_line(error) or type(error).__name__
        raise RunFailedError(f"{url} cannot be fetched: {said}; {_WHAT_HELPS}") from error


class Hosts:
    """The hosts that a download goes to: another one than the first is reported, once."""

    def __init__(self, url: str, on_note: OnNote) -> None:
        self._first = urlsplit(url).hostname
        self._known = {self._first}
        self._on_note = on_note

    def check(self, before: str, after: str) -> None:
        """Report another host that an address leads to. Raises `RunFailedError` if it leaves the web, or encryption."""
        was, will = urlsplit(before).scheme.lower(), urlsplit(after).scheme.lower()
        if will not in _SCHEMES or (was == "https" and will != "https"):
            raise RunFailedError(
                f"{before} sends the download to {one_line(after)}, expected https://…; nothing was fetched"
            )
        host = urlsplit(after).hostname
        if host not in self._known:
            self._known.add(host)
            self._on_note(f"{self._first} sends the download to {host}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, of which `hosts` takes note."""

    max_redirections = 5

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self._hosts.check(req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: ConnectionWatch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(_watched, http.client.HTTPConnection, self._watch), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: ConnectionWatch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(partial(_watched, http.client.HTTPSConnection, self._watch), req)


def _watched(
    kind: type[http.client.HTTPConnection], watch: ConnectionWatch, host: str, **options: Any
) -> http.client.HTTPConnection:
    """Return a connection that the watch ends, from before the handshake of TLS on."""
    connection: Any = kind(host, **options)
    connect = connection._create_connection  # noqa: SLF001 - `connect` itself returns after the handshake

    def connect_watched(*where: Any) -> socket.socket:
        made: socket.socket = connect(*where)
        watch.add(made)
        return made

    connection._create_connection = connect_watched  # noqa: SLF001
    return connection
