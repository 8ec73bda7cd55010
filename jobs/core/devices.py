"""Detection of GPUs on this machine, without importing a library that uses them."""

from __future__ import annotations

from pathlib import Path

_NVIDIA = Path("/proc/driver/nvidia/version")
# Devices of AMD, and of Windows Subsystem for Linux.
_OTHERS = (Path("/dev/kfd"), Path("/dev/dxg"))


def has_nvidia() -> bool:
    """Return whether an NVIDIA driver is loaded."""
    return _NVIDIA.exists()


def may_have_gpu() -> bool:
    """Return whether a library may find a GPU."""
    return has_nvidia() or any(device.exists() for device in _OTHERS)
