"""Who can reach a run's own cluster: processes of this machine, and of these those that have the token."""

from __future__ import annotations

import http.client
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.engine.cluster_auth import make_token_private, token
from tests.listening import listening
from tests.machines import without_ray
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

_ENGINE = """
import os, ray, sys
from conf import Resources
from jobs.engine.ray_engine import Engine
with Engine(Resources(num_cpus=1)) as engine:
    engine.call_worker()
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""

_JOIN = """
import sys
from conf import Resources
from jobs.core.errors import RunFailedError
from jobs.engine.ray_engine import Engine
try:
    with Engine(Resources(), sys.argv[1]) as engine:
        engine.call_worker()
        print("joined")
except RunFailedError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str, Path]]:
    """A process with a cluster of its own, in a home folder without any token: its id, the address, the home."""
    home = tmp_path_factory.mktemp("home")
    environment = without_ray() | {"HOME": str(home)}
    command = [sys.executable, "-c", _ENGINE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=home
    ) as process:
        assert process.stdin
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, "Ray did not start"
        yield process.pid, address, home
        process.stdin.close()
        process.wait(PATIENCE_S)


def test_no_process_of_an_own_cluster_listens_to_the_network(own: tuple[int, str, Path]) -> None:
    pid, address, _ = own
    found = wait_until(lambda: [each for each in listening(pid) if "Agent" in each.program] and listening(pid))
    assert found
    assert len(found) >= 5
    assert int(address.rpartition(":")[2]) in {each.port for each in found}
    assert [each for each in found if not each.is_loopback] == []


def test_no_agent_answers_without_the_token(own: tuple[int, str, Path]) -> None:
    pid, _, home = own
    wait_until(lambda: [each for each in listening(pid) if "DashboardAgent" in each.program])
    # An agent that a busy machine is slow to start is asked once more.
    assert set(wait_until(lambda: _answers(pid))) == {401}
    assert stat.S_IMODE((home / ".ray/auth_token").stat().st_mode) == 0o600


def _answers(pid: int) -> list[int]:
    """Return the statuses with which what listens refuses to list jobs."""
    answers = []
    for each in listening(pid):
        try:
            with urllib.request.urlopen(f"http://{each.host}:{each.port}/api/job_agent/jobs/", timeout=5) as answer:
                # Figures for Prometheus, which are all that a port of its own has, with any path.
                assert answer.read().startswith(b"# HELP ")
        except urllib.error.HTTPError as error:
            answers.append(error.code)
        except (OSError, http.client.HTTPException):
            # It speaks another protocol than HTTP.
            continue
    return answers


@pytest.mark.parametrize("has_token", [True, False])
def test_an_own_cluster_admits_those_that_have_its_token(
    own: tuple[int, str, Path], tmp_path: Path, has_token: bool
) -> None:
    _, address, home = own
    environment = without_ray() | {"HOME": str(home if has_token else tmp_path)}
    command = [sys.executable, "-c", _JOIN, address]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False, timeout=PATIENCE_S
    )
    if has_token:
        assert (done.stdout, done.stderr) == ("joined\n", "")
    else:
        assert "requires a token, found none" in done.stdout


def test_a_token_is_kept_and_its_file_made_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / ".ray/auth_token"
    before = os.umask(0)
    try:
        make_token_private()
        made = token()
        assert len(made) == 64
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        file.chmod(0o644)
        make_token_private()
    finally:
        os.umask(before)
    assert (token(), stat.S_IMODE(file.stat().st_mode)) == (made, 0o600)
    assert [path.name for path in file.parent.iterdir()] == ["auth_token"]
