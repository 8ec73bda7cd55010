"""Client of S3 object stores addressed by URI, with retries and errors mapped to `OSError`.

Transient failures (a throttled request, a dropped connection) are retried with exponential backoff, a limited number of
times.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar, cast

from blake3 import blake3

from transforms.io.credentials import AccessError, options

T = TypeVar("T")

SCHEME = "s3://"
RETRIES = "WINNOW_S3_RETRIES"
"""The environment variable with the number of retries of a request; 8 if it is not set."""

_RETRIES = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _PAUSES_S = 0.1, 5.0, 60.0
_CONNECT_S, _ANSWER_S = 5.0, 60.0
_PER_PAGE = 1000
_AT_ONCE = 1000
_LARGEST_PUT = 1 << 30
_DENIED = frozenset({"PermissionDeniedError", "UnauthenticatedError"})
_FORBIDDEN = "403 Forbidden"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TRIES = re.compile(r"after (\d+) retries")
_STATUS = re.compile(r"\b([45]\d{2}(?: [A-Z][a-z]+)+)")
_REASONS = re.compile(r" - | ↳ ")


class StorageError(OSError):
    """The object store failed a request after several tries."""


class BrokenOffError(StorageError):
    """A response ended in the middle, which the client does not retry by itself."""


class NoBucketError(StorageError):
    """The bucket does not exist."""


class ChangedError(StorageError):
    """The object has changed, or exists already: a precondition of the request failed."""


class ObjectInfo(NamedTuple):
    """An object's URI, size, time of writing (ns since 1970, see `stamp_ns`) and entity tag."""

    uri: str
    size_bytes: int
    mtime_ns: int
    etag: str | None


class Fetched(NamedTuple):
    """An object's bytes, with its metadata as the store reports them."""

    data: bytes
    entry: ObjectInfo


def is_object(uri: str) -> bool:
    """Return whether a URI names an object, or a prefix of objects."""
    return uri.startswith(SCHEME)


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of a URI."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key.strip("/")


def stamp_ns(modified: datetime, etag: str | None) -> int:
    """Return an mtime in ns since 1970 that differs between different contents of an object.

    Some stores report the last change only to the second. The part below the second is therefore derived from the
    entity tag, so that an object that is written twice within one second is seen to have changed.
    """
    digest = blake3((etag or "").strip('"').encode()).digest()
    return int(modified.timestamp()) * 1_000_000_000 + int.from_bytes(digest[:4], "little") % 999_999_999 + 1


def n_retries() -> int:
    """Return how many times a failed request is retried."""
    given = os.environ.get(RETRIES, "")
    return int(given) if given.isdigit() else _RETRIES


def table_options() -> dict[str, str]:
    """Return the settings of the store under the names that the table library uses, which has its own client."""
    found = options()
    named = {f"aws_{name}": value for name, value in found.items() if name != "endpoint"}
    if "endpoint" in found:
        named |= {"aws_endpoint_url": found["endpoint"], "aws_allow_http": "true"}
    return named | {
        "aws_conditional_put": "etag",
        "max_retries": str(n_retries()),
        "retry_timeout": f"{_PAUSES_S:g}s",
        "backoff_config.init_backoff": f"{_FIRST_PAUSE_S * 1000:g}ms",
        "backoff_config.max_backoff": f"{_LONGEST_PAUSE_S:g}s",
        "connect_timeout": f"{_CONNECT_S:g}s",
        "timeout": f"{_ANSWER_S:g}s",
    }


def _client(uri: str) -> tuple[Any, str]:
    """Return the client of a URI's bucket, and the object's key."""
    bucket, key = split(uri)
    return _client_of(bucket, tuple(sorted(options().items())), n_retries()), key


@lru_cache(maxsize=16)
def _client_of(bucket: str, given: tuple[tuple[str, str], ...], retries: int) -> Any:
    from obstore.store import S3Store

    config: dict[str, Any] = {name: value for name, value in given if name != "skip_signature"}
    if dict(given).get("skip_signature"):
        config["skip_signature"] = True
    return S3Store(
        bucket,
        config=cast("Any", config),
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "timeout": timedelta(seconds=_ANSWER_S),
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=_PAUSES_S),
            "backoff": {
                "init_backoff": timedelta(seconds=_FIRST_PAUSE_S),
                "max_backoff": timedelta(seconds=_LONGEST_PAUSE_S),
                "base": 2,
            },
        },
    )


@contextmanager
def _in_our_words(uri: str) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        raise as_os_error(error, uri) from error


def as_os_error(error: BaseException, uri: str) -> OSError:
    """Return a client error as an `OSError` with a one-line message, without the client's debug output."""
    if isinstance(error, (StorageError, AccessError)):
        return error
    text = " ".join(_COLOUR.sub("", str(error)).split("Debug source")[0].split())
    kind = type(error).__name__
    message = re.search(r"<Message>(.*?)</Message>", text)
    if "NoSuchBucket" in text:
        return NoBucketError(f"there is no bucket {split(uri)[0]!r} at {_where()}; create it, or name another")
    if kind in {"AlreadyExistsError", "PreconditionError"}:
        return ChangedError(f"{uri} was made or changed by somebody else")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{uri} does not exist")
    if kind in _DENIED or _FORBIDDEN in text or isinstance(error, PermissionError):
        return AccessError(f"access to {uri} was denied{f': {message[1]}' if message else ''}; see docs/objectstore.md")
    return _not_done(uri, text, message[1] if message else "")


def _not_done(uri: str, text: str, message: str) -> StorageError:
    tries = _TRIES.search(text)
    # The client tries requests again, also one whose answer then breaks off, which it does not.
    if "body" in text and (tries is None or int(tries[1]) < n_retries()):
        return BrokenOffError(f"{uri}: the answer of {_where()} broke off")
    code = _STATUS.search(text)
    short = f"{code[1]}{f' ({message})' if message else ''}" if code else _shortened(text)
    return StorageError(f"{uri}: {_where()} did not do it after {n_retries() + 1} tries: {short}")


def with_retries(call: Callable[[], T]) -> T:
    """Return the result of `call`, repeated while responses break off; `call` must be idempotent."""
    pause_s = _FIRST_PAUSE_S
    for _ in range(n_retries()):
        try:
            return call()
        except BrokenOffError:
            time.sleep(random.uniform(0, pause_s))
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
    return call()


def _shortened(text: str) -> str:
    """Return the innermost reason of a client's error text, at most 300 characters."""
    return _REASONS.split(text)[-1][:300]


def _where() -> str:
    return options().get("endpoint") or "Amazon S3"


def _entry(bucket: str, meta: Mapping[str, Any]) -> ObjectInfo:
    uri = f"{SCHEME}{bucket}/{meta['path']}"
    return ObjectInfo(uri, meta["size"], stamp_ns(meta["last_modified"], meta["e_tag"]), meta["e_tag"])


def head(uri: str) -> ObjectInfo:
    """Return an object's metadata. Raises `FileNotFoundError` if there is no object."""
    import obstore

    with _in_our_words(uri):
        client, key = _client(uri)
        return _entry(split(uri)[0], obstore.head(client, key))


def get(uri: str, most_bytes: int | None = None) -> Fetched:
    """Return a whole object. Raises `FileNotFoundError`, and `ValueError` if it has more than `most_bytes`."""
    return with_retries(lambda: _get(uri, most_bytes))


def _get(uri: str, most_bytes: int | None) -> Fetched:
    import obstore

    with _in_our_words(uri):
        client, key = _client(uri)
        found = obstore.get(client, key)
        entry = _entry(split(uri)[0], found.meta)
        if most_bytes is not None and entry.size_bytes > most_bytes:
            raise ValueError(f"{uri} has {entry.size_bytes} bytes")
        data = bytes(found.bytes())
    if len(data) != entry.size_bytes:
        raise StorageError(f"{uri}: expected {entry.size_bytes} bytes, found {len(data)}")
    return Fetched(data, entry)


def get_range(entry: ObjectInfo, start: int, end: int) -> bytes:
    """Return the bytes [start, end) of an object. Raises `ChangedError` if it has changed since `entry` was read."""
    return with_retries(lambda: _get_range(entry, start, end))


def _get_range(entry: ObjectInfo, start: int, end: int) -> bytes:
    import obstore

    with _in_our_words(entry.uri):
        client, key = _client(entry.uri)
        asked: Any = {"range": (start, end), **({"if_match": entry.etag} if entry.etag else {})}
        return bytes(obstore.get(client, key, options=asked).bytes())


def put(uri: str, data: bytes) -> str | None:
    """Write an object, overwriting what is there, and return its entity tag."""
    import obstore

    with _in_our_words(uri):
        client, key = _client(uri)
        # One request is atomic; objects above the size limit of one request need a multipart upload.
        return obstore.put(client, key, bytes(data), use_multipart=len(data) > _LARGEST_PUT)["e_tag"]


def put_new(uri: str, data: bytes) -> str | None:
    """Create an object and return its entity tag; None if it exists already.

    The data must be unique to the writer: if a response is lost, the stored data show whether the write succeeded.
    """
    import obstore

    try:
        with _in_our_words(uri):
            client, key = _client(uri)
            return obstore.put(client, key, data, mode="create", use_multipart=False)["e_tag"] or ""
    except ChangedError:
        return _own(uri, data)


def put_over(uri: str, data: bytes, etag: str) -> str | None:
    """Replace the object that has an entity tag, and return the new tag; None if its tag has changed.

    The data must be unique to the writer, as for `put_new`.
    """
    import obstore

    try:
        with _in_our_words(uri):
            client, key = _client(uri)
            mode: Any = {"e_tag": etag}
            return obstore.put(client, key, data, mode=mode, use_multipart=False)["e_tag"] or ""
    except (ChangedError, FileNotFoundError):
        return _own(uri, data)


def _own(uri: str, data: bytes) -> str | None:
    """Return the entity tag of the stored object if it holds `data`, else None."""
    try:
        found = get(uri)
    except FileNotFoundError:
        return None
    return found.entry.etag or "" if found.data == data else None


def delete(uris: Sequence[str]) -> None:
    """Delete objects of one bucket; missing ones are ignored."""
    for first in range(0, len(uris), _AT_ONCE):
        with suppress(FileNotFoundError):
            with_retries(partial(_delete, uris[first : first + _AT_ONCE]))


def _delete(uris: Sequence[str]) -> None:
    import obstore

    with _in_our_words(uris[0]):
        client, _ = _client(uris[0])
        obstore.delete(client, [split(uri)[1] for uri in uris])


def listing(uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
    """Yield all objects below a prefix in order of their keys, starting behind the URI `after` if one is given."""
    page = with_retries(lambda: _page(uri, after))
    yield from page
    while len(page) == _PER_PAGE:
        last = page[-1].uri
        page = with_retries(partial(_page, uri, last))
        yield from page


def _page(uri: str, after: str | None) -> list[ObjectInfo]:
    import obstore

    bucket, key = split(uri)
    with _in_our_words(uri):
        client, _ = _client(uri)
        offset = None if after is None else split(after)[1]
        pages = obstore.list(client, prefix=key or None, offset=offset, chunk_size=_PER_PAGE)
        return [_entry(bucket, cast("Mapping[str, Any]", meta)) for meta in next(iter(pages), ())]


def children(uri: str) -> tuple[list[ObjectInfo], list[str]]:
    """Return the objects directly below a prefix, and the names of the prefixes directly below it."""
    return with_retries(lambda: _children(uri))


def _children(uri: str) -> tuple[list[ObjectInfo], list[str]]:
    import obstore

    bucket, key = split(uri)
    with _in_our_words(uri):
        client, _ = _client(uri)
        found = obstore.list_with_delimiter(client, prefix=key or None)
    entries = [_entry(bucket, cast("Mapping[str, Any]", meta)) for meta in found["objects"]]
    return entries, [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]
