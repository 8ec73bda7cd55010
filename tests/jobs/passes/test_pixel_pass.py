"""Tests of who measures: processes of this machine, until the engine takes over."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import schemas
from conf import Resources
from jobs.core.interpreter import python, python_environment
from jobs.engine.lazy_engine import LazyEngine
from jobs.storage.workspace import Workspace
from tests.helpers import assert_same_tables, rows, write_noise_stream

_RUN = """
import itertools, json, sys
from jobs.engine.lazy_engine import LazyEngine
from jobs.engine.local_pool import LocalPool
from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from tests.helpers import go

results = {"LocalPool": 0, "Engine": 0}

def counts(kind):
    original = kind.map_blocks
    def map_blocks(self, *given):
        for result in original(self, *given):
            results[kind.__name__] += result is not None
            yield result
    kind.map_blocks = map_blocks

counts(LocalPool)
counts(Engine)
asked = itertools.count()
after = float(sys.argv[3])
if after >= 0:
    LazyEngine.takes_over = lambda *_: next(asked) > after
record = go(Workspace.at(sys.argv[1]), sys.argv[2], settings=["unit_frames=8", "resources.block_frames=8"])
print(json.dumps({**results, "computed": record.outcomes["frames"].computed, "ray": "ray" in sys.modules}))
"""


def measured(tables: Path, cam: Path, after: int) -> dict[str, Any]:
    """Run in a process of its own, whose engine takes over after so many questions; never for -1."""
    command = python("-c", _RUN, str(tables), str(cam), str(after))
    environment = {name: value for name, value in python_environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.engine
@pytest.mark.slow
def test_rows_do_not_depend_on_when_the_engine_takes_over(tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(96))
    here = measured(tmp_path / "here", cam, -1)
    assert (here["computed"], here["Engine"], here["ray"]) == (96, 0, False)
    amid = measured(tmp_path / "amid", cam, 6)
    assert amid["computed"] == 96
    assert amid["Engine"] > 0
    assert amid["LocalPool"] > 0
    assert_same_tables(Workspace.at(tmp_path / "here"), Workspace.at(tmp_path / "amid"))
    assert rows(Workspace.at(tmp_path / "amid"), schemas.FRAMES).height == 96


def test_an_engine_is_not_started_for_work_that_is_soon_done() -> None:
    with LazyEngine(Resources(num_cpus=1, engine_after_seconds=60)) as engine:
        if engine.local_pool is None:
            pytest.skip("this process has an engine already")
        assert not engine.takes_over(60.0)
        assert engine._engine is None


def test_an_engine_that_cannot_be_started_never_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.engine.lazy_engine._is_running", lambda: False)
    with LazyEngine(Resources(num_cpus=1)) as engine:

        def make() -> Any:
            raise RuntimeError("no memory for it")

        engine._make = make
        engine.takes_over(1e6)
        assert engine._engine is not None
        engine._engine.exception()
        assert not engine.takes_over(1e6)
