from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from conf import Resources
from jobs.core.errors import UserError
from jobs.engine.lazy_engine import LazyEngine
from jobs.engine.ray_engine import Engine, check_address
from tests.helpers import write_noise_stream
from tests.waiting import PATIENCE_S


def double(batch: pa.Table) -> pa.Table:
    return batch.append_column("twice", pa.array([2 * n for n in batch["n"].to_pylist()]))


def total(batch: pa.Table, plus: int) -> pa.Table:
    return pa.table({"sum": [sum(batch["twice"].to_pylist()) + plus]})


def fail_on_three(batch: pa.Table) -> pa.Table:
    if 3 in batch["n"].to_pylist():
        raise ValueError("three")
    return batch


def slow(batch: pa.Table) -> pa.Table:
    import time

    time.sleep(2)
    return batch


def blocks(n: int) -> list[pa.Table]:
    return [pa.table({"n": [i, i]}) for i in range(n)]


def test_each_block_goes_through_all_transforms_whole(engine: Engine) -> None:
    results = engine.map_blocks(blocks(5), [(double, {}), (total, {"plus": 1})])
    assert sorted(r["sum"][0].as_py() for r in results if r is not None) == [1, 5, 9, 13, 17]


def test_only_failed_blocks_are_missing(engine: Engine) -> None:
    results = engine.map_blocks(blocks(6), [(fail_on_three, {})])
    assert sorted(r["n"][0].as_py() for r in results if r is not None) == [0, 1, 2, 4, 5]


def test_results_are_yielded_without_blocking_the_caller(engine: Engine) -> None:
    arrivals = list(engine.map_blocks(blocks(1), [(slow, {})]))
    assert sum(a is None for a in arrivals) >= 2
    assert sum(a is not None for a in arrivals) == 1


def test_an_engine_starts_what_a_run_needs_and_waits_for_no_port_of_another_cluster(engine: Engine) -> None:
    import ray
    from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT

    node = ray._private.worker._global_node
    # -1 means that Ray has tried for some seconds to get the one that it wants, in vain.
    assert node.dashboard_agent_listen_port not in {-1, 0, DEFAULT_DASHBOARD_AGENT_LISTEN_PORT}
    assert {"gcs_server", "raylet"} <= set(node.all_processes)
    assert not {"monitor", "log_monitor"} & set(node.all_processes)


def test_an_engine_on_demand_is_not_started_without_demand() -> None:
    with LazyEngine(Resources()) as idle:
        assert idle._engine is None


def test_an_engine_on_demand_is_one_engine(engine: Engine) -> None:
    with LazyEngine(Resources(num_cpus=2)) as demand:
        demand.begin(1)
        assert demand() is demand()
    # It joined the session's engine and so does not stop it.
    assert len([r for r in engine.map_blocks(blocks(2), [(double, {})]) if r is not None]) == 2


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("127.0.0.1:1", "no Ray cluster answers"),
        ("nowhere", "HOST:PORT"),
        ("ray://127.0.0.1:10001", "winnow submit --to ray"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        check_address(address)


_TWICE = """
import sys
from conf import load
from jobs.runs.run import RunRequest, run
from jobs.storage.workspace import Workspace
for name in ("first", "second"):
    place = Workspace.at(f"{sys.argv[2]}/{name}")
    record = run(RunRequest(place, [sys.argv[1]], load(settings=["resources.num_cpus=1"])))
    print(record.state, record.counts["frames_read"])
"""


@pytest.mark.engine
@pytest.mark.slow
def test_a_program_may_start_one_engine_after_another(tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    command = [sys.executable, "-c", _TWICE, str(cam), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.stdout.splitlines() == ["done 4", "done 4"], done.stderr
