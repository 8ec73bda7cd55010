"""Removal of secrets from texts that others have made, before they are shown or stored.

Servers quote requests in their errors, cut them short, and encode them. So not only a secret is removed but every part
of it that has eight characters, in every form in which such texts have it.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

LEAST = 8
"""Length of the shortest part that is removed. Local servers accept any word as key: a short one is no secret, and may
be part of an answer."""

_HIDDEN = "(hidden)"
_ENVIRONMENT = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "WINNOW_INFERENCE_TOKEN",
    "WINNOW_CONTROL_TOKEN",
    "WINNOW_OIDC_SECRET",
    "RAY_AUTH_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
)


def secrets_of_environment() -> list[str]:
    """Return the secrets of the environment that Winnow itself, or a library that it calls, sends somewhere."""
    return [value for name in _ENVIRONMENT if (value := os.environ.get(name))]


def redacted(text: str) -> str:
    """Return a text without the secrets of the environment."""
    secrets = tuple(secrets_of_environment())
    return _redaction(secrets)(text) if secrets else text


class Redaction:
    """Removes some secrets from texts: whole, in parts, and in encoded forms."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= LEAST for form in _forms(secret)}
        self._parts = frozenset(form[at : at + LEAST] for form in forms for at in range(len(form) - LEAST + 1))

    def __call__(self, text: str) -> str:
        """Return a text without the secrets; pass the whole of it, since a part of less than 8 characters stays."""
        if not self._parts:
            return text
        kept, done, at = [], 0, 0
        while at <= len(text) - LEAST:
            if text[at : at + LEAST] not in self._parts:
                at += 1
                continue
            kept += [text[done:at], _HIDDEN]
            done = at + LEAST
            # The part that is found is as long as each of its pieces is one of a secret.
            while done < len(text) and text[done + 1 - LEAST : done + 1] in self._parts:
                done += 1
            at = done
        return "".join([*kept, text[done:]])


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, in URLs, JSON, HTML, code, hexadecimal digits and base64 (without its padding)."""
    data = secret.encode("utf-8", "surrogateescape")
    yield from (secret, repr(secret)[1:-1], html.escape(secret), json.dumps(secret, ensure_ascii=False)[1:-1])
    escaped = json.dumps(secret)[1:-1]
    yield from (escaped, escaped.replace("/", r"\/"))
    for quoted in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield quoted
        yield "".join(_small_escapes(quoted))
    yield from (data.hex(), data.hex().upper())
    for before in range(3):
        # What is in front of it, as in `user:KEY`, shifts it by so many bytes; what depends on that is left out.
        encoded = base64.b64encode(b"\0" * before + data)
        first, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        whole = encoded[first:end].decode()
        yield from (whole, whole.replace("+", "-").replace("/", "_"), quote(whole, safe=""))


def _small_escapes(quoted: str) -> Iterator[str]:
    """Yield the pieces of an encoded text, the digits of its escapes as small letters."""
    first, *rest = quoted.split("%")
    yield first
    for piece in rest:
        yield f"%{piece[:2].lower()}{piece[2:]}"


@lru_cache(maxsize=4)
def _redaction(secrets: tuple[str, ...]) -> Redaction:
    return Redaction(secrets)
