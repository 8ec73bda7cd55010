"""Files of a workspace's gateway: its lock, its log, and what its process prints."""

from __future__ import annotations

from jobs.storage.paths import Place


def lock_path(root: Place) -> Place:
    """Return the file that the gateway of the workspace at `root` keeps locked."""
    return root / "jobs" / "gateway.lock"


def log_path(root: Place) -> Place:
    """Return the file that gateways of the workspace at `root` log their events to."""
    return root / "jobs" / "gateway.jsonl"


def output_path(root: Place) -> Place:
    """Return the file that takes the standard output and error of a gateway that runs in the background."""
    return root / "jobs" / "gateway.txt"
