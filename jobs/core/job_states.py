"""The states of a job, and the groups of them that rules name; the words are on disk and in the table `runs`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

JobStateName = Literal["pending", "running", "paused", "done", "failed", "cancelled"]
StageStateName = JobStateName | Literal["skipped"]
"""A stage is skipped by a replay that recomputes another one alone."""

STATES: tuple[JobStateName, ...] = ("pending", "running", "paused", "done", "failed", "cancelled")
ASKED_FOR: Mapping[str, JobStateName] = MappingProxyType({"pause": "paused", "cancel": "cancelled"})
"""The state that a request asks a job to end in, by the word of the request."""

FINAL: frozenset[JobStateName] = frozenset({"done", "cancelled"})
"""Nothing can become of such a job any more."""

ENDED: frozenset[JobStateName] = FINAL | {"failed"}
"""Such a job is over, though one that failed may be resumed."""

ACTIVE = frozenset(STATES) - ENDED
"""Such a job is still to be finished: it waits, runs or is paused."""

PAUSED_OR_FAILED: frozenset[JobStateName] = frozenset({"paused", "failed"})
STOPPED: frozenset[JobStateName] = ENDED | {"paused"}
"""No process runs such a job, and none will before somebody asks for it."""
