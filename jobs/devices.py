"""What this machine has to compute with, told without loading a library that could use it."""

from __future__ import annotations

from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/version")


def has_gpu() -> bool:
    """Say whether a driver of a GPU is at work here."""
    return _DRIVER.exists()
