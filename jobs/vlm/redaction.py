"""Redaction of API keys from texts of endpoints, before they are shown or stored: some echo their requests."""

from __future__ import annotations

import os

from jobs.core import redaction
from transforms.assess.escalation import EscalateParams


def key_of(params: EscalateParams) -> str | None:
    """Return the key for an endpoint from the environment; None where there is none, or none is sent."""
    return os.environ.get(params.key_name) if params.key_name else None


class Redaction(redaction.Redaction):
    """Removes the endpoint's own `key`, and the secrets of the environment, from texts."""

    def __init__(self, key: str | None) -> None:
        super().__init__([*filter(None, [key]), *redaction.secrets_of_environment()])
