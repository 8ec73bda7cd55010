"""Redaction of API keys from texts of endpoints, before they are shown or stored: some echo their requests."""

from __future__ import annotations

import os

from jobs.core.redaction import Redaction, secrets_of_environment
from transforms.assess.escalation import EscalateParams


def key_of(params: EscalateParams) -> str | None:
    """Return the key for an endpoint from the environment; None where there is none, or none is sent."""
    return os.environ.get(params.key_name) if params.key_name else None


def redaction_of(key: str | None) -> Redaction:
    """Return what removes the endpoint's own key, and the secrets of the environment, from texts."""
    return Redaction([*filter(None, [key]), *secrets_of_environment()])
