"""Environments for programs that cannot share ours, made once, next to `.venv`."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.reference import ROOT


def interpreter(name: str, *wanted: str) -> Path:
    """Return the Python of `.venv-NAME`, which `uv pip`, given the words `wanted`, put everything into.

    Raises `FileNotFoundError` where there is no uv to make it with.
    """
    place = ROOT / f".venv-{name}"
    python, done = place / "bin/python", place / "done"
    # Processes of the tests come here at the same time, and one of them is to make it.
    with open(ROOT / f".venv-{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(place, python, done, wanted)
    return python


def _make(place: Path, python: Path, done: Path, wanted: Sequence[str]) -> None:
    if not (done.exists() and done.read_text(encoding="utf-8") == _content(wanted)):
        uv = shutil.which("uv") or ROOT / ".uv/bin/uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, place], check=True)
        subprocess.run([uv, "pip", *wanted, "--quiet", "--compile-bytecode", "--python", python], check=True, cwd=ROOT)
        done.write_text(_content(wanted), encoding="utf-8")


def _content(wanted: Sequence[str]) -> str:
    """Return what decides whether an environment is the one that is wanted: the words, and what files of them hold."""
    files = (ROOT / word for word in wanted)
    return "\n".join([*wanted, *(file.read_text(encoding="utf-8") for file in files if file.is_file())])
