"""Clusters that ask for a token and clusters that do not, started as the documentation says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import head, without_ray
from tests.reference import ROOT
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("heads")]

MINE, OTHER = "a1" * 32, "b2" * 32


def home(place: Path, token: str | None) -> Path:
    """A home folder, in which Ray has left a token if a cluster of this machine was ever started."""
    (place / ".ray").mkdir(parents=True)
    if token:
        (place / ".ray" / "auth_token").write_text(token)
    return place


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = home(tmp_path_factory.mktemp("asking") / "home", MINE)
    with head("--include-dashboard=false", HOME=str(place)) as (address, _):
        yield address


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = home(tmp_path_factory.mktemp("open") / "home", None)
    with head("--include-dashboard=false", HOME=str(place)) as (address, _):
        yield address


_JOIN = """
import os, sys
from conf import Resources
from jobs.core.errors import RunFailedError
from jobs.engine import cluster, cluster_auth
from jobs.engine.ray_engine import Engine
cluster._ANSWER_S = cluster_auth._PATIENCE_S = 600.0
try:
    with Engine(Resources(), sys.argv[1]) as engine:
        engine.call_worker()
        print(os.environ["RAY_AUTH_MODE"])
    assert os.environ.get("RAY_AUTH_MODE") == (sys.argv[2] or None)
except RunFailedError as error:
    sys.exit(str(error))
"""


def joined(place: Path, address: str, token: str | None, mode: str = "") -> subprocess.CompletedProcess[str]:
    """Join a cluster as somebody with a token or without, have it work, and say in which mode that was."""
    environment = {**without_ray(), "PYTHONPATH": str(ROOT), "HOME": str(home(place / "home", token))}
    environment |= {"RAY_AUTH_MODE": mode} if mode else {}
    command = [sys.executable, "-c", _JOIN, address, mode]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=place, timeout=PATIENCE_S, check=False
    )


def test_a_cluster_that_requires_our_token_is_joined(asking: str, tmp_path: Path) -> None:
    done = joined(tmp_path, asking, MINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "token\n", "")


@pytest.mark.parametrize("token", [MINE, None])
def test_a_cluster_without_authentication_gets_no_token(token: str | None, open_to_all: str, tmp_path: Path) -> None:
    # Where it is, tasks are done and actors die.
    done = joined(tmp_path, open_to_all, token)
    assert (done.returncode, done.stdout, done.stderr) == (0, "disabled\n", "")


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_refusals_are_one_line_with_a_fix(asking: str, open_to_all: str, tmp_path: Path) -> None:
    assert "found none: put the token of the cluster's head into" in refusal(joined(tmp_path / "a", asking, None))
    assert "RAY_AUTH_TOKEN_PATH" in refusal(joined(tmp_path / "b", asking, OTHER))
    disabled = refusal(joined(tmp_path / "c", asking, MINE, mode="disabled"))
    assert "RAY_AUTH_MODE is disabled: unset it, or set it to token" in disabled
    insisting = refusal(joined(tmp_path / "d", open_to_all, MINE, mode="token"))
    assert "requires no token, but RAY_AUTH_MODE is token" in insisting
