from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.dispatch.systemd import service
from jobs.storage.paths import place

ROOT = Path("/data/100% winnow $HOME \"x\" 'y'/cam ä")


@pytest.mark.parametrize("root", [Path("/data/winnow"), ROOT])
@pytest.mark.process
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, root: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    found = service(place(root), ("--max-jobs", "2"), 30, "linux")
    unit = tmp_path / found.path.name
    unit.write_text(found.text)
    # Where it would find the manager of the user, if it were to ask one.
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [analyze, "verify", "--user", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, result.stderr) == (0, "")


def words(unit: str) -> list[str]:
    """The command of a unit as systemd takes it apart: see systemd.syntax(7)."""
    import shlex

    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    return [w.replace("%%", "%").replace("$$", "$") for w in shlex.split(line.removeprefix("ExecStart="))]


def test_the_unit_quotes_workspaces_with_special_characters(tmp_path: Path) -> None:
    found = service(place(ROOT), ("--grace", "45"), 45, "linux")
    command = [sys.executable, "-P", "-m", "jobs.cli", "gateway", "start", "--foreground", "--workspace", str(ROOT)]
    assert words(found.text) == [*command, "--grace", "45"]
    assert "TimeoutStopSec=60\n" in found.text
    assert found.path.parent == Path.home() / ".config/systemd/user"


def test_the_environment_of_its_jobs_is_read_from_a_file_that_need_not_exist() -> None:
    found = service(place(ROOT), (), 30, "linux")
    assert "\nEnvironmentFile=-%h/.config/winnow/gateway.env\n" in found.text
    assert found.variables == Path.home() / ".config/winnow/gateway.env"
    assert service(place(ROOT), (), 30, "darwin").variables is None


def test_two_workspaces_have_two_services() -> None:
    assert service(place("/a/tables"), (), 30, "linux").path != service(place("/b/tables"), (), 30, "linux").path


def test_the_macos_service_is_a_property_list_of_the_same_command() -> None:
    found = service(place(ROOT), (), 30, "darwin")
    values = plistlib.loads(found.text.encode())
    assert values["ProgramArguments"][1:] == [
        "-P",
        "-m",
        "jobs.cli",
        "gateway",
        "start",
        "--foreground",
        "--workspace",
        str(ROOT),
    ]
    assert values["RunAtLoad"]
    assert values["KeepAlive"] == {"SuccessfulExit": False}
    assert found.path == Path.home() / f"Library/LaunchAgents/{values['Label']}.plist"


def test_installing_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = service(place(Path("/data/winnow")), (), 30, "linux")
    found.install()
    assert (tmp_path / ".config/systemd/user" / found.path.name).read_text() == found.text
