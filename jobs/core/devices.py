"""What this machine has to compute with, told without loading a library that could use it."""

from __future__ import annotations

from pathlib import Path

_NVIDIA = Path("/proc/driver/nvidia/version")
# Of AMD, and of Windows below a Linux.
_OTHERS = (Path("/dev/kfd"), Path("/dev/dxg"))


def has_nvidia() -> bool:
    """Say whether a driver of NVIDIA is at work here."""
    return _NVIDIA.exists()


def may_have_gpu() -> bool:
    """Say whether a library may find a GPU here."""
    return has_nvidia() or any(device.exists() for device in _OTHERS)
