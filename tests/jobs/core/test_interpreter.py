from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import schemas
from jobs.core.interpreter import ROOT, python, python_environment, search_path
from jobs.dispatch.schedule import Schedule
from jobs.dispatch.schedule_commands import crontab
from jobs.dispatch.systemd import service
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.helpers import rows, said, winnow, write_hiding

_BY_THE_ENGINE = """
import sys
from jobs.engine.lazy_engine import LazyEngine
LazyEngine.takes_over = lambda *_: True
from jobs.storage.workspace import Workspace
from tests.helpers import go
record = go(Workspace.at(sys.argv[1]), sys.argv[2], settings=["stages=[frames]", "resources.block_frames=8"])
print(record.outcomes["frames"].computed, record.outcomes["frames"].quarantined)
"""


def test_the_current_folder_is_on_no_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not {"", str(tmp_path)} & set(search_path())
    assert str(ROOT) in search_path()


def test_lines_for_other_programs_start_safe_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (_, line) = crontab(place(tmp_path), Schedule("nightly", "0 2 * * *", "UTC", {"inputs": ["/data"]}))
    assert " -P -m jobs.cli schedule run-now nightly " in line
    for platform, words in (("linux", "-P -m jobs.cli"), ("darwin", "<string>-P</string>")):
        assert words in service(place(tmp_path), (), 1.0, platform).text


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("are_modules", [True, False])
def test_folders_of_users_hide_nothing_from_our_processes(
    tmp_path: Path, sample_folder: Path, are_modules: bool
) -> None:
    here = tmp_path / "here"
    write_hiding(here, are_modules)
    command = python("-c", _BY_THE_ENGINE, str(tmp_path / "engine"), str(sample_folder))
    done = subprocess.run(command, cwd=here, env=python_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["122", "0"], done.stderr


@pytest.mark.process
def test_folders_of_users_hide_nothing_from_jobs_of_a_gateway(
    tmp_path: Path, sample_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hiding(tmp_path, are_modules=False)
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.at(tmp_path / "tables")
    options = ("--workspace", workspace.root, "--json")
    job_id = said(winnow("submit", "--input", sample_folder, "--set", "stages=[frames]", *options))["job_id"]
    said(winnow("gateway", "start", *options))
    try:
        assert winnow("job", "watch", job_id, "--workspace", workspace.root).exit_code == 0
    finally:
        winnow("gateway", "stop", *options)
    assert rows(workspace, schemas.FRAMES).height == 122
