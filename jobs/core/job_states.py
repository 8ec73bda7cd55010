"""The states of a job, and the groups of them that rules speak of; the words are on disk and in the table `runs`."""

from __future__ import annotations

STATES = ("pending", "running", "paused", "done", "failed", "cancelled")
FINAL = frozenset({"done", "cancelled"})
"""Nothing can become of such a job any more."""

ENDED = FINAL | {"failed"}
"""Such a job is over, though one that failed may be resumed."""

ACTIVE = frozenset(STATES) - ENDED
"""Such a job is still to be finished: it waits, runs or is paused."""

PAUSED_OR_FAILED = frozenset({"paused", "failed"})
STOPPED = ENDED | {"paused"}
"""No process runs such a job, and none will before somebody asks for it."""
