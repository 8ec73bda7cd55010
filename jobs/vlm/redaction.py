"""What comes from an endpoint is told and put down without keys: some echo what they were sent."""

from __future__ import annotations

import os

from transforms.assess.escalation import KEYS

_HIDDEN = "(hidden)"
# Local servers take any word for a key: one such as `none` gives nothing away, and may well be part of an answer.
_LEAST = 8


class Hiding:
    """Takes the endpoint's own `key`, and those of all providers that the environment has, out of texts."""

    def __init__(self, key: str | None) -> None:
        held = {key, *(os.environ.get(name) for name in KEYS.values())}
        # One may begin with another.
        self._keys = sorted((each for each in held if each and len(each) >= _LEAST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text without keys; to be called on the whole of it, since half a key is not known for one."""
        for key in self._keys:
            text = text.replace(key, _HIDDEN)
        return text
