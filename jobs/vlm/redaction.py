"""Redaction of API keys from texts of endpoints, before they are shown or stored: some echo their requests."""

from __future__ import annotations

import os

from transforms.assess.escalation import KEYS, EscalateParams

_HIDDEN = "(hidden)"
# Local servers accept any word as key: a short one such as `none` is no secret, and may be part of an answer.
_LEAST = 8


def key_of(params: EscalateParams) -> str | None:
    """Return the key for an endpoint from the environment; None where there is none, or none is sent."""
    return os.environ.get(params.key_name) if params.key_name else None


class Redaction:
    """Removes the endpoint's own `key`, and those of all providers in the environment, from texts."""

    def __init__(self, key: str | None) -> None:
        held = {key, *(os.environ.get(name) for name in KEYS.values())}
        # Longest first, since one key may be the prefix of another.
        self._keys = sorted((each for each in held if each and len(each) >= _LEAST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text without keys; pass the whole text, since parts of a key are not recognised."""
        for key in self._keys:
            text = text.replace(key, _HIDDEN)
        return text
