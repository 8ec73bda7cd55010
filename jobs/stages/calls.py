"""Checks, before any work, that a vision language model can be asked."""

from __future__ import annotations

import os

from jobs.core.errors import UserError
from jobs.core.optional_packages import missing
from jobs.vlm.vlm_clients import PACKAGES
from jobs.vlm.vlm_stage import skipped
from transforms.assess.escalation import EscalateParams


def check_calls(params: EscalateParams) -> None:
    """Raise `UserError` with all that is wrong with what the calls need.

    Where the environment forbids to ask, nothing is needed.
    """
    if skipped(params):
        return
    problems = [*params.problems(), *missing("vlm", PACKAGES[params.api])]
    if not params.is_local and params.key_name and not os.environ.get(params.key_name):
        problems.append(f"${params.key_name} is not set; expected the key of the endpoint there")
    if problems:
        raise UserError(problems)
