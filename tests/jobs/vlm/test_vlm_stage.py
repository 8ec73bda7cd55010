from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import schemas
from conf import ConfigError
from conf.model_catalogue import NOT_STATED
from jobs.core.errors import RunFailedError, UserError
from jobs.core.stage import Stage
from jobs.datasets.export import ExportRequest, export
from jobs.engine.ray_engine import Engine
from jobs.records.run_record import RunRecord
from jobs.stages.detection import licence_notice
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from jobs.vlm.vlm_stage import unanswered, unasked
from tests.endpoints import Bad, Endpoint, endpoint, openai
from tests.helpers import go, rows, winnow
from tests.jobs.review.material import EMPTY, N, annotated, settings
from tests.waiting import wait_until
from transforms.assess.escalation import EscalateParams

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")
# It takes two seconds to import, for each process of the tests.
if find_spec("openai") is None:
    pytest.skip("the extra `vlm` is not installed", allow_module_level=True)

KEY = "sk-very-secret-key"
STAGES = "stages=[quality, fingerprints, duplicates, curation, annotate, route, escalate]"
# Every score is 0.9: all frames are a little uncertain, and the empty one among the others is very much so.
NEARLY_SURE = ("route.margin=1", "route.threshold=0.0001", "route.spread=0")
UNCERTAIN = (*NEARLY_SURE, "route.budget_person=0", "route.budget_vlm=10")

pytestmark = pytest.mark.usefixtures("models_at_hand")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    return Path(str(annotated(tmp_path_factory.mktemp("escalate"), *UNCERTAIN[:3]).root))


@pytest.fixture
def workspace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("SKIP_VLM", "SKIP_CLOUD"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(made, tmp_path / "tables")
    return Workspace.at(tmp_path / "tables")


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint(openai) as found:
        yield found


def asked(made: Path, there: Endpoint, *more: str) -> list[str]:
    url = (f"escalate.url={there.url}/v1", "escalate.model=seer", "escalate.per_minute=60000")
    prices = ("escalate.usd_in=10", "escalate.usd_out=100")
    # One after the other, where a test says what happens to which.
    return [*settings(made.parent), STAGES, *UNCERTAIN, *url, *prices, "escalate.parallel=1", *more]


def ask(workspace: Workspace, made: Path, there: Endpoint, *more: str) -> RunRecord:
    return go(workspace, made.parent / "data", settings=asked(made, there, *more))


def ledger(workspace: Workspace) -> pl.DataFrame:
    return rows(workspace, schemas.ESCALATIONS).sort("frame_idx")


def standing(workspace: Workspace) -> list[tuple[Any, ...]]:
    query = "SELECT frame_idx, category, decision, reviewer FROM objects ORDER BY ALL"
    return [tuple(row.values()) for row in View.of(workspace).sql(query).to_pylist()]


def judge(boxes: list[dict[str, Any]]) -> dict[str, Any]:
    """Drop what begins in the first twentieth, relabel what ends in the last half, and miss a cat where nothing is."""
    verdicts = []
    for box in boxes:
        verdict = "drop" if box["box"][0] < 50 else "relabel" if box["box"][0] > 150 else "keep"
        category = "cat" if verdict == "relabel" else None
        verdicts.append({"number": box["number"], "verdict": verdict, "category": category})
    return {"objects": verdicts, "missing": [] if boxes else ["cat"]}


def test_answers_are_kept_and_each_question_is_sent_once(
    workspace: Workspace, made: Path, there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.judge = judge
    # The provider's key would go to the provider's own address only.
    monkeypatch.setenv("SEER_KEY", KEY)
    outcome = ask(workspace, made, there, "escalate.key_env=SEER_KEY").outcomes["escalate"]
    assert (outcome.frames_in, outcome.computed, outcome.quarantined, len(there.asked)) == (N, N, 0, N)
    routing = rows(workspace, schemas.ROUTING)
    assert routing["route"].to_list() == ["vlm"] * N
    assert (routing["flicker"].to_list(), routing["doubts"][EMPTY].to_list()) == ([0, 0, 0, 1, 0, 0], ["flicker"])
    # Left edges are 0, 8, 16, (none), 32 and 40 of 256.
    assert standing(workspace) == [
        (2, "red", "keep", "seer"),
        (4, "red", "keep", "seer"),
        (5, "cat", "relabel", "seer"),
    ]
    raw = rows(workspace, schemas.ANNOTATIONS)
    assert raw["category"].to_list() == ["red"] * (N - 1)
    entries = ledger(workspace)
    assert set(entries["state"]) == {"done"}
    assert entries.select("tokens_in", "tokens_out", "cost_usd").row(0) == pytest.approx((1000, 100, 0.02))
    assert json.loads(entries["before"][5])[0]["annotation_id"] == raw.filter(frame_idx=5)["annotation_id"][0]
    assert json.loads(entries["after"][5])["objects"][0]["verdict"] == "relabel"
    assert rows(workspace, schemas.ESCALATED).sort("frame_idx")["missing"][EMPTY].to_list() == ["cat"]
    # The key went to the endpoint, and nowhere else.
    assert there.headers[0]["authorization"] == f"Bearer {KEY}"
    held = [
        path for path in Path(str(workspace.root)).rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert held == []
    again = ask(workspace, made, there).outcomes["escalate"]
    assert (again.computed, again.reused, len(there.asked)) == (0, N, N)
    # Nor where thresholds make another stage of it: the question is the same.
    other = ask(workspace, made, there, "route.threshold=0.0002").outcomes["escalate"]
    assert (other.computed, len(there.asked)) == (N, N)


def test_an_endpoint_that_echoes_the_key_brings_it_nowhere(
    workspace: Workspace, made: Path, there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", other := "another-providers-key")
    verdict = {"number": 1, "verdict": "keep", "category": KEY}
    escaped = json.dumps({"objects": [verdict | {"category": "@"}], "missing": []}).replace("@", f"\\u0073{KEY[1:]}")
    # Too long to be quoted whole, in the name of a field, in what does not fit, and in an answer that does.
    for text in (
        json.dumps({"headers": {"x": "y" * 40, "Authorization": f"Bearer {KEY}"}}),
        json.dumps({f"Bearer {KEY}": 1}),
        json.dumps({"objects": [verdict | {"verdict": f"Bearer {KEY}"}], "missing": []}),
        json.dumps({"objects": [verdict | {"verdict": "relabel", "category": f"{KEY} {other}"}], "missing": []}),
        f"Bearer {KEY}",
        escaped,
    ):
        there.bad.append(Bad(text=text))
    ask(workspace, made, there, "escalate.attempts=1", "route.budget_vlm=6")
    tables = [rows(workspace, schemas.ESCALATIONS), rows(workspace, schemas.QUARANTINE)]
    assert sorted(tables[0]["state"]) == ["done", *["invalid"] * 5]
    assert "(hidden)" in tables[0].filter(state="done")["after"][0]
    for table in tables:
        text = str(table.to_dicts())
        assert all(part not in text for part in (KEY[:12], KEY[-12:], other))


def test_manifests_name_the_reviewing_model_and_its_terms(
    workspace: Workspace, made: Path, there: Endpoint, tmp_path: Path
) -> None:
    there.judge = judge
    for at, (more, licence, restriction) in enumerate(
        (
            ((), None, NOT_STATED),
            (("escalate.licence=Llama 4 research licence",), "Llama 4 research licence", "it is for research alone"),
        )
    ):
        ask(workspace, made, there, *more)
        manifest = export(workspace, ExportRequest("coco", place(tmp_path / f"coco{at}"), everything=True))
        assert [each["source"] for each in manifest["models"]] == ["onnx", "escalate"]
        # Of 5 objects two begin in the first twentieth, and one is a cat.
        assert manifest["models"][1] == {
            "source": "escalate",
            "api": "openai",
            "model": "seer",
            "frames": N,
            "kept": 2,
            "relabelled": 1,
            "dropped": 2,
            "licence": licence,
            "restriction": restriction,
        }
    assert len(there.asked) == N
    few = ExportRequest("coco", place(tmp_path / "few"), everything=True, where="frame_idx < 2")
    # The detector has annotated these frames, too, although nothing of it is left.
    assert [(each["source"], each.get("dropped")) for each in export(workspace, few)["models"]] == [
        ("onnx", None),
        ("escalate", 2),
    ]


def test_a_provider_has_its_own_terms_and_they_are_printed_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path))
    for url, terms in (
        (None, "OpenAI terms of use"),
        ("https://api.openai.com/v1", "OpenAI terms of use"),
        ("https://api.groq.com/openai/v1", None),
        ("http://localhost:8000/v1", None),
    ):
        assert EscalateParams(url=url).terms == terms
    params = {"escalate.api": "openai", "escalate.model": "seer", "escalate.licence": "OpenAI terms of use"}
    stage = Stage("escalate", "calls", schemas.ESCALATED, (), params)
    first = licence_notice([stage])
    assert first
    assert "OpenAI terms of use" in first
    assert "compete" in first
    assert licence_notice([stage]) is None


def test_bad_answers_are_paid_and_recorded(workspace: Workspace, made: Path, there: Endpoint) -> None:
    there.bad += [
        Bad(429, {"Retry-After": "0.01"}),
        Bad(text="I see a dog."),
        Bad(half=True),
        Bad(text='{"objects": [], "missing": ["ghost"]}'),
    ]
    few = ("route.budget_vlm=1", "escalate.attempts=5")
    outcome = ask(workspace, made, there, *few).outcomes["escalate"]
    assert (outcome.computed, len(there.asked)) == (1, 5)
    entry = ledger(workspace).row(0, named=True)
    assert (entry["frame_idx"], entry["state"], entry["attempts"], entry["error"]) == (EMPTY, "done", 5, None)
    assert (entry["tokens_in"], entry["cost_usd"]) == (3000, pytest.approx(0.06))


def test_a_question_without_a_valid_answer_is_given_up(workspace: Workspace, made: Path, there: Endpoint) -> None:
    there.bad += [Bad(text="no"), Bad(text="no")]
    few = ("route.budget_vlm=2", "escalate.attempts=2")
    record = ask(workspace, made, there, *few)
    outcome = record.outcomes["escalate"]
    assert (outcome.computed, outcome.quarantined, len(there.asked)) == (1, 1, 3)
    said = unanswered(outcome, record.config.escalate) or ""
    assert "no valid answer for 1;" in said
    assert "where fewer than 2 answers came, but where none of so many fitted only if escalate.attempts" in said
    assert ledger(workspace)["state"].to_list().count("invalid") == 1
    assert rows(workspace, schemas.QUARANTINE)["stage"].to_list() == ["escalate"]
    # What was paid for is not asked again.
    ask(workspace, made, there, *few)
    assert len(there.asked) == 3
    assert rows(workspace, schemas.QUARANTINE)["stage"].to_list() == ["escalate"]
    # Once the frame is not routed to the model any more, no later run would ask about it.
    record = ask(workspace, made, there, *few, "route.threshold=1")
    assert (record.outcomes["escalate"].frames_in, record.outcomes["escalate"].quarantined) == (0, 0)
    assert rows(workspace, schemas.QUARANTINE).is_empty()


def test_licence_terms_are_printed_after_the_first_answers(
    workspace: Workspace, made: Path, there: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    words = [w for s in asked(made, there, "escalate.licence=OpenAI terms of use") for w in ("--set", s)]
    reported = []
    for skip in ("1", "", ""):
        monkeypatch.setenv("SKIP_VLM", skip)
        ran = winnow("run", "-i", made.parent / "data", "-w", workspace.root, *words)
        assert ran.exit_code == 0
        reported.append("OpenAI terms of use" in ran.output)
    assert reported == [False, True, False]


def test_questions_that_could_exceed_the_budget_are_not_sent(workspace: Workspace, made: Path, there: Endpoint) -> None:
    # Each is recorded with 0.02 dollars, and could cost up to 0.22.
    outcome = ask(workspace, made, there, "escalate.max_usd=0.26").outcomes["escalate"]
    assert 1 <= outcome.computed == len(there.asked) < N
    ask(workspace, made, there, "escalate.max_usd=5")
    texts = [json.dumps(request) for request in there.asked]
    assert len(texts) == len(set(texts)) == N
    assert ledger(workspace)["cost_usd"].sum() == pytest.approx(0.02 * N)


def test_an_endpoint_that_refuses_ends_the_run(workspace: Workspace, made: Path, there: Endpoint) -> None:
    there.bad.append(Bad(401))
    with pytest.raises(RunFailedError, match="the endpoint refuses") as caught:
        ask(workspace, made, there)
    assert KEY not in str(caught.value)
    there.bad += [Bad(500)] * 3
    with pytest.raises(RunFailedError, match="refuses all requests"):
        ask(workspace, made, there, "escalate.attempts=1")
    assert KEY not in "".join(ledger(workspace)["error"])
    # Without a word on what it was, the next run asks once more.
    assert ask(workspace, made, there).outcomes["escalate"].computed == N
    assert rows(workspace, schemas.QUARANTINE).height == 0


def test_a_killed_run_resumes_without_repeating_paid_calls(workspace: Workspace, made: Path, there: Endpoint) -> None:
    there.bad += [Bad(), Bad(), Bad(after_s=60)]
    words = [word for setting in asked(made, there) for word in ("--set", setting)]
    program = [sys.executable, "-m", "jobs.cli", "run", "-i", str(made.parent / "data"), "-w", str(workspace.root)]
    with subprocess.Popen([*program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            wait_until(lambda: len(there.asked) >= 3 or running.poll() is not None)
        finally:
            running.send_signal(signal.SIGKILL)
    assert len(there.asked) == 3
    assert ledger(workspace)["state"].to_list() == ["done", "done"]
    ask(workspace, made, there)
    texts = [json.dumps(request) for request in there.asked]
    # The third one alone was put twice: it was never answered.
    assert (len(texts), len(set(texts))) == (N + 1, N)
    assert ledger(workspace).height == N
    assert standing(workspace) == [(n, "red", "keep", "seer") for n in range(N) if n != EMPTY]


def test_environment_variables_can_forbid_calls(
    workspace: Workspace, made: Path, there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIP_VLM", "1")
    skipped = ask(workspace, made, there)
    outcome = skipped.outcomes["escalate"]
    assert (outcome.frames_in, outcome.computed, outcome.reused) == (N, 0, 0)
    assert (
        unasked(skipped.outcomes["escalate"], skipped.config.escalate)
        == f"the model was not asked about {N} frames: SKIP_VLM is set"
    )
    monkeypatch.setenv("SKIP_VLM", "0")
    monkeypatch.setenv("SKIP_CLOUD", "1")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(workspace, made, there, "escalate.url=https://example.com/v1").outcomes["escalate"].computed == 0
    assert (there.asked, Store(workspace.root).open(schemas.ESCALATIONS).n_rows) == ([], 0)
    # An endpoint nearby is no cloud, and needs no key.
    assert ask(workspace, made, there).outcomes["escalate"].computed == N


def test_missing_settings_of_the_endpoint_are_reported_before_any_work(
    workspace: Workspace, made: Path, there: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError) as caught:
        ask(workspace, made, there, "escalate.url=null", "escalate.model=''", "escalate.usd_in=0")
    hints = ("escalate.model", "escalate.usd_in", "$OPENAI_API_KEY is not set")
    for problem, hint in zip(caught.value.problems, hints, strict=True):
        assert hint in problem
    with pytest.raises(ConfigError, match="never a key itself") as refused:
        ask(workspace, made, there, f"escalate.key_env={KEY}")
    assert KEY not in str(refused.value)
    with pytest.raises(ConfigError, match="asks about no frame"):
        ask(workspace, made, there, "route.budget_vlm=0")
    with pytest.raises(ConfigError, match="no stage sends these frames"):
        go(workspace, made.parent / "data", settings=[*settings(made.parent), "route.budget_vlm=3"])
