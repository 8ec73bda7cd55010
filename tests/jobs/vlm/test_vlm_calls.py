"""Questions that are under way together: as many as may be, as fast and as dear as they may be, each paid for once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import schemas
from conf import load
from jobs.core.errors import RunFailedError
from jobs.engine.ray_engine import Engine
from jobs.records.run_events import SilentListener
from jobs.records.run_record import StageOutcome
from jobs.runs.run import RunRequest, run
from jobs.storage.workspace import Workspace
from jobs.vlm.vlm_calls import Budget, BudgetExhaustedError
from tests.endpoints import Bad, Endpoint, endpoint, openai
from tests.helpers import go, rows
from tests.jobs.review.material import N, annotated, settings
from tests.jobs.vlm.test_vlm_stage import STAGES, UNCERTAIN
from tests.waiting import PATIENCE_S, wait_until

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
# It takes two seconds to import, for each process of the tests.
if find_spec("openai") is None:
    pytest.skip("the extra `vlm` is not installed", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("models_at_hand")


class Crowd:
    """Keeps what judges of a while, and counts how many are kept at a time; the first until there are `least`."""

    def __init__(self, there: Endpoint, seconds: float, least: int = 1) -> None:
        self.most = 0
        self._least = least
        self._seconds = seconds
        self._now = 0
        self._turn = threading.Lock()
        self._judge = there.judge
        there.judge = self._wait

    def _wait(self, boxes: list[dict[str, Any]]) -> dict[str, Any]:
        with self._turn:
            self._now += 1
            self.most = max(self.most, self._now)
        wait_until(lambda: self.most >= self._least, "they came one after the other", every_s=0.01)
        time.sleep(self._seconds)
        with self._turn:
            self._now -= 1
        return self._judge(boxes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    return Path(str(annotated(tmp_path_factory.mktemp("calls"), *UNCERTAIN[:3]).root))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    for name in ("SKIP_VLM", "SKIP_CLOUD"):
        monkeypatch.delenv(name, raising=False)
    with endpoint(openai) as found:
        yield found


@pytest.fixture
def workspaces(made: Path, tmp_path: Path) -> Callable[[str], Workspace]:
    def copied(name: str) -> Workspace:
        shutil.copytree(made, tmp_path / name)
        return Workspace.at(tmp_path / name)

    return copied


def asked(made: Path, there: Endpoint, *more: str) -> list[str]:
    url = (f"escalate.url={there.url}/v1", "escalate.model=seer", "escalate.per_minute=60000")
    prices = ("escalate.usd_in=10", "escalate.usd_out=100")
    return [*settings(made.parent), STAGES, *UNCERTAIN, *url, *prices, *more]


def texts(there: Endpoint) -> list[str]:
    return [json.dumps(request) for request in there.asked]


def test_concurrent_calls_give_the_results_of_single_ones(
    workspaces: Callable[[str], Workspace], made: Path, there: Endpoint
) -> None:
    together, alone = workspaces("together"), workspaces("alone")
    crowd = Crowd(there, 0.3, least=3)
    record = go(together, made.parent / "data", settings=asked(made, there, "escalate.parallel=3"))
    assert (crowd.most, record.outcomes["escalate"].computed, len(there.asked)) == (3, N, N)
    go(alone, made.parent / "data", settings=asked(made, there, "escalate.parallel=1"))
    # How many are under way changes no answer, and is no part of the key.
    assert rows(together, schemas.ESCALATED).equals(rows(alone, schemas.ESCALATED))
    entries = rows(together, schemas.ESCALATIONS)
    assert (entries.height, set(entries["state"]), set(entries["attempts"])) == (N, {"done"}, {1})
    assert entries["cost_usd"].sum() == pytest.approx(0.02 * N)


def test_the_rate_limit_holds_for_all_calls_together(
    workspaces: Callable[[str], Workspace], made: Path, there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(there, 0.5, least=2)
    began, take = [], Budget.take

    def take_and_note(self: Budget, usd: float, wait: Callable[[float], None]) -> int:
        began.append(time.monotonic())
        return take(self, usd, wait)

    monkeypatch.setattr(Budget, "take", take_and_note)
    there.bad += [Bad(429, {"Retry-After": "0.01"})]
    quick = ("escalate.per_minute=300", "escalate.parallel=4")
    go(workspaces("ws"), made.parent / "data", settings=asked(made, there, *quick))
    times = sorted(there.times)
    assert len(times) == N + 1
    assert crowd.most > 1
    # A fifth of a second is between any two, whichever thread asks, tries again included; they may arrive later.
    assert all(times[at] - began[0] >= 0.2 * at for at in range(len(times)))


def test_concurrent_calls_never_exceed_the_budget(
    workspaces: Callable[[str], Workspace], made: Path, there: Endpoint
) -> None:
    Crowd(there, 0.2)
    spent = []
    for parallel in (1, 4):
        workspace = workspaces(f"ws{parallel}")
        # Each could cost up to 0.22 dollars, and costs 0.02.
        more = ("escalate.max_usd=0.26", f"escalate.parallel={parallel}")
        record = go(workspace, made.parent / "data", settings=asked(made, there, *more))
        entries = rows(workspace, schemas.ESCALATIONS).sort("call_id")
        assert entries["cost_usd"].sum() <= 0.26
        spent.append((record.outcomes["escalate"].computed, entries["call_id"].to_list()))
    assert spent[0] == spent[1]
    assert 0 < spent[0][0] < N


def test_the_same_call_is_not_made_twice_at_a_time(tmp_path: Path, made: Path, there: Endpoint) -> None:
    Crowd(there, 0.3)
    for name in ("a", "b"):
        shutil.copytree(made.parent / "data/yard/gate", tmp_path / "data" / name)
    every = ("escalate.parallel=6", "route.budget_vlm=20")
    record = go(Workspace.at(tmp_path / "ws"), tmp_path / "data", settings=asked(made, there, *every))
    assert (record.outcomes["escalate"].computed, len(there.asked), len(set(texts(there)))) == (2 * N, N, N)


def test_a_refusing_endpoint_ends_all_calls_and_answers_are_kept(
    workspaces: Callable[[str], Workspace], made: Path, there: Endpoint
) -> None:
    workspace = workspaces("ws")
    there.bad += [Bad(after=3, after_s=0.5), Bad(after=3, after_s=0.5), Bad(401)]
    settings_ = asked(made, there, "escalate.parallel=3")
    with pytest.raises(RunFailedError, match="the endpoint refuses"):
        go(workspace, made.parent / "data", settings=settings_)
    assert len(there.asked) <= 4
    n_paid = rows(workspace, schemas.ESCALATIONS).height
    assert n_paid >= 2
    before = len(there.asked)
    assert go(workspace, made.parent / "data", settings=settings_).outcomes["escalate"].frames_in == N
    assert len(there.asked) - before == N - n_paid


class Impatient(SilentListener):
    """Interrupts a run as soon as two questions are under way; neither is answered before the run has noticed."""

    def __init__(self, there: Endpoint) -> None:
        self._there = there
        self._noticed = threading.Event()
        self._judge = there.judge
        there.judge = self._answer

    def on_stage_started(self, what: str, total: int | None) -> None:
        assert what != "escalate" or total == N

    @property
    def interrupted(self) -> bool:  # found out when it is requested
        if len(self._there.asked) >= 2:
            self._noticed.set()
        return self._noticed.is_set()

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        """Nobody else says so."""

    def _answer(self, boxes: list[dict[str, Any]]) -> dict[str, Any]:
        assert self._noticed.wait(PATIENCE_S)
        return self._judge(boxes)


def test_a_pause_waits_for_calls_in_flight(workspaces: Callable[[str], Workspace], made: Path, there: Endpoint) -> None:
    workspace = workspaces("ws")
    request = RunRequest(
        workspace, [str(made.parent / "data")], load(settings=asked(made, there, "escalate.parallel=2"))
    )
    stopped = run(request, Impatient(there))
    assert (stopped.state, len(there.asked)) == ("paused", 2)
    assert rows(workspace, schemas.ESCALATIONS)["state"].to_list() == ["done"] * 2
    record = run(request, job_id=stopped.job_id)
    assert record.outcomes["escalate"].computed + record.outcomes["escalate"].reused == N
    assert len(texts(there)) == len(set(texts(there))) == N


def test_a_killed_run_repeats_only_the_calls_in_flight(
    workspaces: Callable[[str], Workspace], made: Path, there: Endpoint
) -> None:
    workspace = workspaces("ws")
    there.bad += [Bad(), Bad(), Bad(after_s=60), Bad(after_s=60)]
    words = [word for each in asked(made, there, "escalate.parallel=2") for word in ("--set", each)]
    program = [sys.executable, "-m", "jobs.cli", "run", "-i", str(made.parent / "data"), "-w", str(workspace.root)]
    with subprocess.Popen([*program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            wait_until(
                lambda: (
                    (len(there.asked) >= 4 and rows(workspace, schemas.ESCALATIONS).height >= 2)
                    or running.poll() is not None
                )
            )
        finally:
            running.send_signal(signal.SIGKILL)
    assert rows(workspace, schemas.ESCALATIONS)["state"].to_list() == ["done"] * 2
    go(workspace, made.parent / "data", settings=asked(made, there))
    assert (len(texts(there)), len(set(texts(there)))) == (N + 2, N)
    assert rows(workspace, schemas.ESCALATIONS).filter(pl.col("state") == "done").height == N


def test_a_reservation_is_kept_until_the_cost_is_known() -> None:
    budget = Budget(60_000, 1.0, 0.3)
    waits: list[float] = []
    first = budget.take(0.4, lambda _: None)

    def later(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            budget.settle(first, 0.1)

    # 0.3 spent, 0.4 held and 0.5 more are too much, until the first turns out to have cost 0.1.
    second = budget.take(0.5, later)
    assert len(waits) >= 3
    budget.settle(second, 0.5)
    with pytest.raises(BudgetExhaustedError):
        budget.take(0.2, lambda _: None)
    budget.settle(budget.take(0.1, lambda _: None), 0.0)


def test_many_threads_never_overdraw_a_budget() -> None:
    budget = Budget(6e9, 1.0, 0.0)
    turn = threading.Lock()
    total = [0.0]

    def spend(_: int) -> None:
        number = budget.take(0.1, time.sleep)
        with turn:
            total[0] += 0.1
            assert total[0] <= 1.0 + 1e-9
        budget.settle(number, 0.1)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(spend, at) for at in range(40)]
    refused = [isinstance(each.exception(), BudgetExhaustedError) for each in futures]
    assert (refused.count(False), refused.count(True)) in ((9, 31), (10, 30))


BUSY = Bad(429, {"Retry-After": "0.01"})
MISFIT = Bad(text="I see a dog.")
Ask = Callable[..., StageOutcome]


@pytest.fixture
def workspace(workspaces: Callable[[str], Workspace]) -> Workspace:
    return workspaces("ws")


@pytest.fixture
def ask(workspace: Workspace, made: Path, there: Endpoint) -> Ask:
    def asked_of_one(*more: str) -> StageOutcome:
        given = asked(made, there, "route.budget_vlm=1", *more)
        return go(workspace, made.parent / "data", settings=given).outcomes["escalate"]

    return asked_of_one


def entry_of(workspace: Workspace) -> dict[str, Any]:
    return rows(workspace, schemas.ESCALATIONS).row(0, named=True)


def test_unanswered_calls_do_not_count(workspace: Workspace, there: Endpoint, ask: Ask) -> None:
    there.bad += [MISFIT, BUSY, Bad(half=True)]
    outcome = ask("escalate.attempts=3")
    assert (outcome.quarantined, len(there.asked)) == (1, 3)
    entry = entry_of(workspace)
    assert (entry["state"], entry["attempts"], entry["misfits"]) == ("invalid", 3, 1)
    # Of one paid answer.
    assert (entry["tokens_in"], entry["tokens_out"], entry["cost_usd"]) == (1000, 100, pytest.approx(0.02))
    assert entry["error"].startswith("the answer: Invalid JSON")
    assert entry["error"].count("; then no answer came: ") == 1
    # Two are left of three; no answer at all takes none of them away.
    there.bad += [BUSY, MISFIT, BUSY]
    ask("escalate.attempts=3")
    entry = entry_of(workspace)
    assert (entry["attempts"], entry["misfits"], entry["tokens_in"], len(there.asked)) == (6, 2, 2000, 6)
    there.bad += [MISFIT]
    assert ask("escalate.attempts=3").quarantined == 1
    entry = entry_of(workspace)
    assert (entry["attempts"], entry["misfits"], entry["tokens_in"], len(there.asked)) == (7, 3, 3000, 7)
    assert "then" not in entry["error"]
    # Now it is given up, until there is another attempt.
    ask("escalate.attempts=3")
    assert len(there.asked) == 7
    assert (ask("escalate.attempts=4").computed, len(there.asked)) == (1, 8)
    entry = entry_of(workspace)
    assert (entry["state"], entry["error"], entry["tokens_in"]) == ("done", None, 4000)
