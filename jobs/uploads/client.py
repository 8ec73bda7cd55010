"""Sends files to a server, and continues where it was cut: after a lost network, a killed server, or a killed client.

Nothing is kept here for that: the server knows which uploads of one's own are unfinished, and by what a file is known.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from jobs.core.errors import UserError, one_line
from jobs.uploads.sent_file import SentBytes, SentFile

CHUNK_BYTES = 64 << 20
"""Bytes of one request."""

_TUS = {"Tus-Resumable": "1.0.0"}
_BODY = "application/offset+octet-stream"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_CONNECT_S, _ANSWER_S = 5.0, 120.0
_CHECK_S = 0.2
_AGAIN = frozenset({408, 409, 429, 460, 500, 502, 503, 504})
Progress = Callable[[SentFile, int], None]
"""Called with a file and how many bytes of it are there."""


class RefusedUploadError(UserError):
    """A server does not take a file, or anything from this sender."""


class UnreachableServerError(UserError):
    """A server did not answer for too long. Exit code 1: the same command continues."""

    exit_code = 1


class _CutError(Exception):
    """A connection was lost, or the answer was to try again."""


@dataclass(frozen=True)
class SentResult:
    """What became of a file: `state` is `ready`, `rejected` or `failed`; `why` has the reasons of the latter two."""

    path: str
    name: str
    state: str
    why: tuple[str, ...]
    length: int
    bytes_sent: int
    blake3: str | None
    input: str | None
    already_there: bool


class UploadClient:
    """Sends files to a project of a server."""

    def __init__(self, url: str, project: str | None, key: str, patience_s: float, parallel: int = 1) -> None:
        """`patience_s`: how long a server may be away before an upload is given up. Raises `UserError`."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise UserError(f"--to {url}: expected the address of a server, as in https://winnow.example.org")
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._pool = urllib3.PoolManager(maxsize=parallel, block=True)
        self._key = key
        self._patience_s = patience_s
        self._is_over = threading.Event()
        self._base = ""
        self._base = f"/api/v1/projects/{quote(project or self._only_project(), safe='')}/uploads"
        self._known: dict[str, dict[str, Any]] = {}

    def stop(self) -> None:
        """End what runs as soon as it can: what was sent is kept there."""
        self._is_over.set()

    def send_all(self, files: Sequence[SentFile], parallel: int, progress: Progress) -> Iterator[SentResult]:
        """Send files, some at a time, and yield what became of each, in their order."""
        self._known = {u["fingerprint"]: u for u in self._all() if u["fingerprint"] and u["state"] != "rejected"}
        with ThreadPoolExecutor(parallel) as threads:
            try:
                yield from threads.map(lambda file: self._sent(file, progress), files)
            finally:
                self.stop()
                threads.shutdown(cancel_futures=True)

    def _sent(self, file: SentFile, progress: Progress) -> SentResult:
        n_sent = 0

        def result(state: str, why: Sequence[str], upload: Mapping[str, Any]) -> SentResult:
            return SentResult(
                str(file.path), file.name, state, tuple(why), file.length, n_sent,
                upload.get("blake3"), upload.get("input"), bool(upload.get("already_there")),
            )  # fmt: skip

        try:
            fingerprint = file.fingerprint()
            known = self._known.get(fingerprint)
            if known is not None and known["state"] == "ready" and known["blake3"] == file.content():
                progress(file, file.length)
                return result("ready", (), known | {"already_there": True})
            with closing(SentBytes(file.path)) as reader:
                n_sent, upload_id = self._send(file, fingerprint, reader, progress)
                file.check()
                found = self._settled(upload_id)
                if found["blake3"] != reader.content(file.length):
                    return result("failed", ("the server has other bytes than this file; send it again",), found)
            return result(found["state"], found["why"], found)
        except UserError as error:
            return result("failed", error.problems, {})
        except OSError as error:
            return result("failed", (f"{file.path} cannot be read: {error.strerror or error}",), {})

    def _send(self, file: SentFile, fingerprint: str, reader: SentBytes, progress: Progress) -> tuple[int, str]:
        """Send what is missing of a file; return how many bytes were sent, and the id of the upload."""
        n_sent, offset = 0, -1
        known = self._known.get(fingerprint)
        upload_id: str | None = known["upload_id"] if known and known["state"] in {"receiving", "received"} else None
        waited = _Waiting(self._patience_s, self._is_over)
        while upload_id is None or offset < file.length:
            try:
                if upload_id is None:
                    upload_id = self._find_or_create(file, fingerprint, is_retry=waited.has_failed)
                    continue
                if offset < 0:
                    offset = self._offset(upload_id)
                    progress(file, offset)
                    continue
                stop = min(file.length, offset + CHUNK_BYTES)

                def pieces(start: int = offset, stop: int = stop) -> Iterator[bytes]:
                    nonlocal n_sent
                    at = start
                    for piece in reader.pieces(start, stop):
                        if self._is_over.is_set():
                            raise UserError("stopped; the same command continues")
                        n_sent += len(piece)
                        at += len(piece)
                        yield piece
                        progress(file, at)

                headers = {"Upload-Offset": str(offset), "Content-Type": _BODY, "Content-Length": str(stop - offset)}
                answer = self._ask("PATCH", f"/{upload_id}", headers, pieces())
                offset = int(answer.headers["Upload-Offset"])
                waited.succeed()
            except _CutError as error:
                # What arrived is known only there.
                offset = -1
                waited.fail(str(error))
        return n_sent, upload_id

    def _find_or_create(self, file: SentFile, fingerprint: str, is_retry: bool) -> str:
        if is_retry:
            # The answer to the request that made it may have been lost.
            for upload in self._all():
                if upload["fingerprint"] == fingerprint and upload["state"] in {"receiving", "received"}:
                    return str(upload["upload_id"])
        about = {"filename": file.name, "fingerprint": fingerprint}
        said = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in about.items())
        answer = self._ask("POST", "", {"Upload-Length": str(file.length), "Upload-Metadata": said})
        return answer.headers["Location"].rpartition("/")[2]

    def _offset(self, upload_id: str) -> int:
        return int(self._ask("HEAD", f"/{upload_id}", {}).headers["Upload-Offset"])

    def _settled(self, upload_id: str) -> dict[str, Any]:
        """Return an upload once it is checked."""
        waited = _Waiting(self._patience_s, self._is_over)
        while True:
            try:
                found: dict[str, Any] = self._ask("GET", f"/{upload_id}", {}).json()
                if found["state"] in {"ready", "rejected"}:
                    return found
                if self._is_over.wait(_CHECK_S):
                    raise UserError("stopped while the server checks it")
            except _CutError as error:
                waited.fail(str(error))

    def _all(self) -> Iterator[dict[str, Any]]:
        before = ""
        waited = _Waiting(self._patience_s, self._is_over)
        while True:
            try:
                page = self._ask("GET", f"?limit=1000{before}", {}).json()
            except _CutError as error:
                waited.fail(str(error))
                continue
            yield from (upload for upload in page["uploads"] if upload["is_mine"])
            if page["next"] is None:
                return
            before = f"&before={page['next']}"

    def _only_project(self) -> str:
        """Return the name of the only project that a key may see. Raises `UserError` where there are more."""
        waited = _Waiting(self._patience_s, self._is_over)
        while True:
            try:
                found = self._ask("GET", "/api/v1/projects", {}).json()
                break
            except _CutError as error:
                waited.fail(str(error))
            except RefusedUploadError as error:
                raise RefusedUploadError(
                    [*error.problems, "--project: name the project, where the key may not list them"]
                ) from error
        names = sorted(each["project"] for each in found["projects"])
        if len(names) != 1:
            raise UserError(f"--project: expected one of {', '.join(names) or 'none that this key may see'}")
        return str(names[0])

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: Iterator[bytes] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Return an answer. Raises `_CutError` for what a repeated request may fix, `RefusedUploadError` otherwise."""
        own = {"Authorization": f"Bearer {self._key}", **_TUS, **headers}
        try:
            answer = self._pool.request(
                method,
                f"{self._origin}{self._base}{path}",
                headers=own,
                body=body,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=_ANSWER_S),
            )
        except (HTTPError, OSError) as error:
            raise _CutError(one_line(error)) from error
        if answer.status < 300:
            return answer
        lines = _lines(answer)
        if answer.status in _AGAIN and not (method == "POST" and answer.status == 409):
            raise _CutError("; ".join(lines))
        raise RefusedUploadError(lines)


class _Waiting:
    """Pauses between tries, and the end of patience."""

    def __init__(self, patience_s: float, is_over: threading.Event) -> None:
        self._patience_s = patience_s
        self._is_over = is_over
        self._pause_s = _FIRST_PAUSE_S
        self._since = time.monotonic()
        self.has_failed = False

    def succeed(self) -> None:
        self._pause_s, self._since = _FIRST_PAUSE_S, time.monotonic()

    def fail(self, why: str) -> None:
        """Wait a little. Raises `UnreachableServerError` when that went on for too long, `UserError` after a stop."""
        if not self.has_failed:
            self._since = time.monotonic()
        self.has_failed = True
        if time.monotonic() - self._since > self._patience_s:
            raise UnreachableServerError(f"{why}; the same command continues where this ended")
        if self._is_over.wait(self._pause_s):
            raise UserError("stopped; the same command continues")
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)


def _lines(answer: urllib3.BaseHTTPResponse) -> list[str]:
    try:
        found = json.loads(answer.data)["lines"]
        return [one_line(str(line)) for line in found]
    except (ValueError, KeyError, TypeError):
        return [f"the server answers {answer.status} {answer.reason or ''}".strip()]
