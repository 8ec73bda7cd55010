"""Requests of the protocol for resumable uploads, tus 1.0.0: their headers, and which of them carry a file."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from email.utils import formatdate

from jobs.core.errors import UserError
from jobs.web.guard import Scope
from jobs.web.upload_errors import UploadTypeError, UploadVersionError

TUS = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,termination,expiration"
CHECKSUMS = "sha256"
BODY = "application/offset+octet-stream"

_COLLECTION = re.compile(rb"/api/v1/projects/[^/]+/uploads")
_ONE = re.compile(rb"/api/v1/projects/[^/]+/uploads/[0-9a-f]{32}")
_NUMBER = re.compile(r"\d{1,18}")
_HEX = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"[0-9a-zA-Z_-]{1,100}")
_MOST_METADATA = 16384


def is_upload(scope: Scope) -> bool:
    """Return whether a request carries bytes of a file, which its route takes from it piece by piece."""
    path = scope.get("raw_path") or scope["path"].encode()
    path = path.partition(b"?")[0]
    if scope["method"] == "PATCH":
        return _ONE.fullmatch(path) is not None
    return (
        scope["method"] == "POST"
        and _COLLECTION.fullmatch(path) is not None
        and (b"content-type", BODY.encode()) in scope["headers"]
    )


def check_version(headers: Mapping[str, str]) -> None:
    """Raise `UploadVersionError` for a request of another version of the protocol, or of none."""
    if headers.get("tus-resumable") != TUS:
        found = headers.get("tus-resumable", "none")
        raise UploadVersionError(f"Tus-Resumable: expected {TUS}, found {found[:20]}")


def check_type(headers: Mapping[str, str]) -> None:
    """Raise `UploadTypeError` unless the body is declared as bytes of a file."""
    if headers.get("content-type") != BODY:
        raise UploadTypeError(f"Content-Type: expected {BODY}, found {headers.get('content-type', 'none')[:60]}")


def number(headers: Mapping[str, str], name: str) -> int:
    """Return a header that is a number of bytes. Raises `UserError`."""
    text = headers.get(name.lower(), "")
    if not _NUMBER.fullmatch(text):
        raise UserError(f"{name}: expected a number of bytes, found {text[:40]!r}")
    return int(text)


def checksum(headers: Mapping[str, str]) -> bytes | None:
    """Return the SHA-256 that a request says its body has, None where it says none. Raises `UserError`."""
    text = headers.get("upload-checksum")
    if text is None:
        return None
    name, _, value = text.partition(" ")
    found = _decoded(value)
    if name != CHECKSUMS or found is None or len(found) != 32:
        raise UserError(f"Upload-Checksum: expected `{CHECKSUMS} BASE64`, found {text[:60]!r}")
    return found


def metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what a client says of a file: `path`, and where it says so `fingerprint` and `declared` (BLAKE3).

    Raises `UserError`. Of the keys `filename`, `relativePath`, `fingerprint` and `blake3`, the first is needed.
    """
    text = headers.get("upload-metadata", "")
    if len(text) > _MOST_METADATA:
        raise UserError(f"Upload-Metadata: expected at most {_MOST_METADATA:,} characters, found {len(text):,}")
    values: dict[str, str | None] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        key, _, value = pair.partition(" ")
        found = _decoded(value.strip())
        try:
            values[key] = None if found is None else found.decode()
        except UnicodeDecodeError:
            values[key] = None
        if values[key] is None and key in {"filename", "relativePath", "fingerprint", "blake3"}:
            raise UserError(f"Upload-Metadata: expected {key} as Base64 of UTF-8, found {value[:40]!r}")
    path = values.get("relativePath") or values.get("filename")
    if not path:
        raise UserError("Upload-Metadata: expected filename, as in `filename bWF0Y2gubXA0`")
    made = {"path": path}
    for key, field, allowed in (("fingerprint", "fingerprint", _FINGERPRINT), ("blake3", "declared", _HEX)):
        if given := values.get(key):
            if not allowed.fullmatch(given):
                raise UserError(f"Upload-Metadata: expected a {key} of digits, found {given[:40]!r}")
            made[field] = given
    return made


def http_date(seconds: float) -> str:
    """Return a time (seconds since 1970) as headers have it."""
    return formatdate(seconds, usegmt=True)


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
