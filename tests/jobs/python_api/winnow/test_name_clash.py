"""Folders and modules of the user that have the names of our packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from winnow.name_clash import PACKAGES, explain

pytestmark = pytest.mark.process

COMMAND = Path(sys.executable).with_name("winnow")


def ended(place: Path, *words: str | Path, **environment: str) -> tuple[int, str, str]:
    """Run a program in a folder and return its exit code, and what it printed."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found = subprocess.run(words, cwd=place, env=plain | environment, capture_output=True, text=True, check=False)
    return found.returncode, found.stdout, found.stderr


def own(place: Path, name: str, kind: str) -> Path:
    """Write a package or a module of the user's own, and return what hides ours."""
    path = place / name if kind == "package" else place / f"{name}.py"
    (path / "__init__.py" if kind == "package" else path).parent.mkdir(exist_ok=True)
    (path / "__init__.py" if kind == "package" else path).write_text("")
    return path


@pytest.mark.parametrize("kind", ["package", "module"])
@pytest.mark.parametrize("name", PACKAGES)
def test_a_folder_that_hides_a_package_is_named_in_one_line(tmp_path: Path, name: str, kind: str) -> None:
    path = own(tmp_path, name, kind)
    line = f"winnow cannot import its package {name}: {path} hides it; "
    line += "rename it, run from another folder or start Python with -P"
    code, _, said = ended(tmp_path, sys.executable, "-c", "import winnow")
    assert code == 1
    assert said.splitlines()[-1] == f"ImportError: {line}"
    assert ended(tmp_path, sys.executable, "-m", "winnow", "--version") == (2, "", f"error: {line}\n")


@pytest.mark.parametrize("words", [["-m", "winnow"], ["-mwinnow"], ["-Xutf8", "-Bm", "winnow"]])
def test_the_command_as_a_module_ends_with_2_however_it_is_spelled(tmp_path: Path, words: list[str]) -> None:
    own(tmp_path, "conf", "module")
    code, out, said = ended(tmp_path, sys.executable, *words, "profiles", "--json")
    assert (code, said.count("\n")) == (2, 1)
    assert json.loads(out) == {"error": [said.removeprefix("error: ").rstrip("\n")], "exit_code": 2}


def test_python_with_p_avoids_hidden_packages_as_the_message_says(tmp_path: Path) -> None:
    for name in PACKAGES:
        own(tmp_path, name, "package")
    assert ended(tmp_path, sys.executable, "-P", "-c", "import winnow; winnow.load()") == (0, "", "")


@pytest.mark.skipif(not COMMAND.exists(), reason=f"{COMMAND} is not there: winnow is not installed")
def test_the_command_minds_no_current_folder_but_pythonpath(tmp_path: Path) -> None:
    path = own(tmp_path, "transforms", "package")
    code, out, _ = ended(tmp_path, COMMAND, "--version")
    assert (code, out[:7]) == (0, "winnow ")
    said = f"error: winnow cannot import its package transforms: {path} hides it; "
    said += f"rename it or take {tmp_path} out of PYTHONPATH\n"
    assert ended(tmp_path, COMMAND, "--version", PYTHONPATH=str(tmp_path)) == (2, "", said)


def test_a_program_next_to_a_hiding_module_gets_no_advice_to_change_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = own(tmp_path / "mine", "jobs", "module")
    (tmp_path / "mine/program.py").write_text("import winnow")
    code, _, said = ended(tmp_path, sys.executable, "mine/program.py")
    assert code == 1
    line = f"winnow cannot import its package jobs: {path} hides it; rename it or start Python with -P"
    assert said.splitlines()[-1] == f"ImportError: {line}"


def test_modules_imported_before_are_checked_as_well(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = own(tmp_path / "mine", "conf", "package")
    program = "import sys; sys.path.insert(0, 'mine'); import conf; del sys.path[0]; import winnow"
    _, _, said = ended(tmp_path, sys.executable, "-c", program)
    assert said.splitlines()[-1].endswith(f"{path} hides it; rename it or take {path.parent} off sys.path")


def test_a_folder_that_is_no_package_hides_nothing(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
    assert ended(tmp_path, sys.executable, "-c", "import winnow; winnow.load()") == (0, "", "")


def test_several_hidden_packages_are_named_in_one_line() -> None:
    line = explain({"conf": Path("/a/conf.py"), "jobs": Path("/b/jobs")})
    assert line == (
        "winnow cannot import its packages conf, jobs: /a/conf.py, /b/jobs hide them; "
        "rename them, take /a off sys.path or take /b off sys.path"
    )


def test_the_installed_package_that_takes_a_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/__init__.py").touch()
    described = tmp_path / "cron_tools-1.2.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: cron-tools\nVersion: 1.2\n")
    (described / "RECORD").write_text("jobs/__init__.py,,\ncron_tools-1.2.dist-info/METADATA,,\n")
    assert explain({"jobs": tmp_path / "jobs"}) == (
        f"winnow cannot import its package jobs: {tmp_path / 'jobs'} (of the package cron-tools) hides it; "
        "give winnow an environment of its own (uv tool install winnow) or uninstall cron-tools"
    )
    (tmp_path / "conf.py").touch()
    assert "package cron-tools" not in explain({"conf": tmp_path / "conf.py"})
