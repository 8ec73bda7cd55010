from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.engine import local_pool
from jobs.engine.local_pool import LocalPool, WorkerStartError
from tests.helpers import is_gone, write_hiding
from tests.idle_workers import lent, not_lent
from tests.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def own_processes() -> Iterator[None]:
    """Pools as they are outside of the tests."""
    with not_lent():
        yield


def blocks(n: int) -> list[pa.Table]:
    return [pa.table({"n": [number]}) for number in range(n)]


def double(block: pa.Table) -> pa.Table:
    return pa.table({"n": [2 * block["n"][0].as_py()], "pid": [os.getpid()]})


def fussy(block: pa.Table, ends: bool) -> pa.Table:
    if block["n"][0].as_py() == 2:
        if ends:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("two")
    return block


def chatty(block: pa.Table) -> pa.Table:
    os.write(2, b"Corrupt JPEG data: 137 extraneous bytes before marker 0xd9\n")
    return block


def has_pandas(block: pa.Table) -> pa.Table:
    return pa.table({"n": [int("pandas" in sys.modules)]})


def numbers(results: list[pa.Table | None]) -> list[int]:
    return sorted(r["n"][0].as_py() for r in results if r is not None)


def test_every_block_goes_through_once_in_other_processes() -> None:
    with LocalPool(2) as pool:
        results = [r for r in pool.map_blocks(blocks(8), [(double, {})]) if r is not None]
        again = list(pool.map_blocks(blocks(3), [(double, {}), (double, {})]))
    assert numbers(list(results)) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert numbers(again) == [0, 4, 8]
    pids = {r["pid"][0].as_py() for r in results}
    assert os.getpid() not in pids
    assert all(is_gone(pid) for pid in pids)


@pytest.mark.parametrize("ends", [True, False])
def test_only_a_failed_block_is_missing(ends: bool) -> None:
    with LocalPool(2) as pool:
        assert numbers(list(pool.map_blocks(blocks(5), [(fussy, {"ends": ends})]))) == [0, 1, 3, 4]


def test_messages_of_decoders_about_damaged_images_are_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with LocalPool(1) as processes:
        assert numbers(list(processes.map_blocks(blocks(2), [(chatty, {})])))
    assert capfd.readouterr().err == ""


def test_arrow_is_kept_from_a_library_that_no_block_needs() -> None:
    with LocalPool(1) as processes:
        assert numbers(list(processes.map_blocks(blocks(2), [(double, {}), (has_pandas, {})]))) == [0, 0]


def test_blocks_are_missing_when_all_processes_have_died() -> None:
    with LocalPool(1) as pool:
        assert numbers(list(pool.map_blocks(blocks(5), [(fussy, {"ends": True})]))) == [0, 1]


def rest(block: pa.Table) -> pa.Table:
    """Take as long over a block as a large model; a file says that it has begun."""
    Path(os.environ["RESTING"]).touch()
    time.sleep(600)
    return block


_PARENT = """
import sys
from jobs.engine.local_pool import LocalPool
from tests.jobs.engine.test_local_pool import blocks, double, rest
pool = LocalPool(1)
(result,) = [r for r in pool.map_blocks(blocks(1), [(double, {})]) if r is not None]
print(result["pid"][0].as_py(), flush=True)
if sys.argv[1] == "busy":
    list(pool.map_blocks(blocks(1), [(rest, {})]))
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_worker_processes_end_with_the_process_that_started_them(state: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PARENT, state]
    resting = tmp_path / "resting"
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RESTING": str(resting)}
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=here)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    if state == "busy":
        wait_until(resting.exists)
    parent.kill()
    parent.wait()
    wait_until(lambda: is_gone(pid), "the process outlived its parent")


def test_processes_that_cannot_start_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_pool, "_PROGRAM", "print('begun'); raise SystemError('no such machine')  # {} {}")
    with LocalPool(2) as pool, pytest.raises(WorkerStartError, match="SystemError: no such machine"):
        list(pool.map_blocks(blocks(3), [(double, {})]))


@pytest.mark.parametrize("are_modules", [True, False])
def test_packages_of_the_current_folder_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, are_modules: bool
) -> None:
    write_hiding(tmp_path, are_modules)
    monkeypatch.chdir(tmp_path)
    with LocalPool(1) as pool:
        assert numbers(list(pool.map_blocks(blocks(2), [(double, {})]))) == [0, 2]


def test_a_process_that_the_tests_hand_on_is_another_where_it_would_be_started_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same one for the next pool; after an end, or with another environment, a new one."""

    def used() -> int:
        with LocalPool(1, replaces_dead=True) as pool:
            (result,) = [r for r in pool.map_blocks(blocks(1), [(double, {})]) if r is not None]
        return int(result["pid"][0].as_py())

    with lent():
        first = used()
        assert used() == first
        with LocalPool(1, replaces_dead=True) as pool:
            assert numbers(list(pool.map_blocks(blocks(5), [(fussy, {"ends": True})]))) == [0, 1, 3, 4]
        second = used()
        assert second != first
        monkeypatch.setenv("WINNOW_ELSEWHERE", "1")
        assert used() != second
    wait_until(lambda: is_gone(second), "idle processes outlived the tests")
