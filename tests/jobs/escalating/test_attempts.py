"""What counts towards giving a question up: answers that came and did not fit, not that none came."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import schemas
from jobs.escalating.calls import misfits
from jobs.passes.engine import Engine
from jobs.runs import StageOutcome
from jobs.storage.store import Store
from jobs.workspace import Workspace
from tests.endpoints import Bad, Endpoint, endpoint, openai
from tests.helpers import go, rows
from tests.jobs.escalating.test_escalate import DOUBTFUL, KEY, asked
from tests.jobs.reviewing.material import annotated

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
pytest.importorskip("openai", reason="the extra `vlm` is not installed")

pytestmark = pytest.mark.usefixtures("models_at_hand")

BUSY = Bad(429, {"Retry-After": "0.01"})
MISFIT = Bad(text="I see a dog.")
Ask = Callable[..., StageOutcome]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    return Path(str(annotated(tmp_path_factory.mktemp("attempts"), *DOUBTFUL[:3]).root))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("SKIP_VLM", "SKIP_CLOUD"):
        monkeypatch.delenv(name, raising=False)
    with endpoint(openai) as found:
        yield found


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(made, tmp_path / "tables")
    return Workspace.at(tmp_path / "tables")


@pytest.fixture
def ask(workspace: Workspace, made: Path, there: Endpoint) -> Ask:
    def asked_of_one(*more: str) -> StageOutcome:
        given = asked(made, there, "route.budget_vlm=1", *more)
        return go(workspace, made.parent / "data", settings=given).outcomes["escalate"]

    return asked_of_one


def entry_of(workspace: Workspace) -> dict[str, Any]:
    return rows(workspace, schemas.ESCALATIONS).row(0, named=True)


def test_that_no_answer_came_does_not_count(workspace: Workspace, there: Endpoint, ask: Ask) -> None:
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


def test_an_entry_of_an_older_version_stays_given_up(workspace: Workspace, there: Endpoint, ask: Ask) -> None:
    there.bad += [MISFIT, MISFIT]
    ask("escalate.attempts=2")
    old = rows(workspace, schemas.ESCALATIONS).with_columns(pl.lit(None, pl.Int64).alias("misfits"))
    table = pa.Table.from_pylist(old.to_dicts(), schemas.ESCALATIONS.arrow_schema)
    Store(workspace.root).upsert(schemas.ESCALATIONS, table, "old")
    assert misfits(entry_of(workspace)) == 2
    ask("escalate.attempts=2")
    assert len(there.asked) == 2
    assert ask("escalate.attempts=3").computed == 1
    assert (entry_of(workspace)["misfits"], entry_of(workspace)["attempts"]) == (2, 3)
