"""The stages of docs/add-a-stage.md, added to a copy of the sources as the document says, work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.machines import without_ray
from tests.reference import ROOT

_ROOMS = ("schemas", "transforms", "conf", "jobs", "tests")
_NEW = re.compile(r"New file `([^`]+)`:\n\n```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDED = re.compile(r"In `([^`]+)`, after\s+`([^`]+)`:\n\n```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def add_stages(text: str, root: Path) -> None:
    """Do with the sources below `root` what a document says."""
    for path, content in _NEW.findall(text):
        assert not (root / path).exists()
        (root / path).write_text(content, encoding="utf-8")
    for path, line, content in _ADDED.findall(text):
        before = (root / path).read_text(encoding="utf-8")
        assert before.count(f"\n{line}\n") == 1, f"{path}: {line}"
        (root / path).write_text(before.replace(f"\n{line}\n", f"\n{line}\n{content}"), encoding="utf-8")


def test_a_stage_is_a_module_a_table_and_a_declaration(tmp_path: Path) -> None:
    text = (ROOT / "docs/add-a-stage.md").read_text(encoding="utf-8")
    assert len(_NEW.findall(text)) + len(_ADDED.findall(text)) == text.count("```py\n")
    copy = tmp_path / "sources"
    for room in _ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "evidence", "bench"))
    add_stages(text, copy)
    command = [sys.executable, "-m", "tests.added_stages", str(tmp_path)]
    environment = without_ray() | {"PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
