"""Wheel of the running program for machines without it, and a hash that identifies its version."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from blake3 import blake3

_NAME = "winnow"
_PACKAGES = ("conf", "jobs", "schemas", "transforms")
# It is in a folder of `jobs` in a checkout, and next to `jobs` where it is installed.
_PYTHON_API = "winnow"
_SOURCES_OF_PYTHON_API = "jobs/python_api/"
# No machine of a cluster shows pages, and what builds them is in no wheel.
_PAGES = ("web/ui", "web/static")
# Equal files give an equal wheel, so that it is uploaded to a cluster once.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_WHEEL = "Wheel-Version: 1.0\nGenerator: winnow\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def version() -> str:
    """Return the installed version; 0 if none is installed, as for files that were merely unpacked."""
    try:
        return distribution(_NAME).version
    except PackageNotFoundError:
        return "0"


@cache
def code_identity() -> str:
    """Return 16 hex digits that are equal on two machines with the same program files."""
    digest = blake3()
    for name, path in _files():
        digest.update(f"{name}\0".encode())
        digest.update(blake3(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def write_wheel(folder: Path, suffix: str = ".whl") -> Path:
    """Write the running program, installed or a checkout, as a wheel into a folder, and return its path.

    With the suffix `.zip` it is a plain archive of the same layout, for programs that do not accept wheels.
    """
    number = version()
    about = f"{_NAME}-{number}.dist-info"
    contents = {name: path.read_bytes() for name, path in _files()}
    contents |= {f"{about}/{name}": text.encode() for name, text in _metadata(number).items()}
    contents[f"{about}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in contents.items())
    contents[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    path = folder / f"{_NAME}-{number}-py3-none-any{suffix}"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            entry = ZipInfo(name, _TIME)
            entry.external_attr = _MODE
            entry.compress_type = ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def _files() -> list[tuple[str, Path]]:
    """Return every file of the program by its name in the wheel, in order."""
    found: dict[str, Path] = {}
    for package in _PACKAGES:
        origin = importlib.import_module(package).__file__
        assert origin is not None
        found |= _files_of(package, Path(origin).parent)
        beside = Path(origin).parent.with_name(_PYTHON_API)
        if package == "jobs" and not any(name.startswith(_SOURCES_OF_PYTHON_API) for name in found):
            found |= _files_of(_PYTHON_API, beside)
    return sorted((name.removeprefix(_SOURCES_OF_PYTHON_API), path) for name, path in found.items())


def _files_of(package: str, root: Path) -> dict[str, Path]:
    files: list[Path] = []
    for folder, folders, names in os.walk(root):
        place = Path(folder)
        # Not entered at all: what the pages are built with has tens of thousands of files.
        folders[:] = [each for each in folders if each != "__pycache__" and place / each not in _pages(root)]
        files += [place / name for name in names if name[0] != "."]
    return {f"{package}/{path.relative_to(root).as_posix()}": path for path in files}


def _pages(root: Path) -> tuple[Path, ...]:
    return tuple(root / name for name in _PAGES)


def _metadata(number: str) -> dict[str, str]:
    """Return the wheel's metadata, taken from the installation if there is one."""
    least = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {number}\n"
    try:
        known = distribution(_NAME)
    except PackageNotFoundError:
        return {"METADATA": least}
    entries = known.read_text("entry_points.txt")
    return {"METADATA": known.read_text("METADATA") or least} | ({"entry_points.txt": entries} if entries else {})


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
