"""Crops whose brand is open, shown to models that answer well, badly, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import schemas
from conf import ConfigError
from jobs.core.errors import UserError
from jobs.ingest.brand_dictionary import import_dictionary
from jobs.records.run_record import RunRecord
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.vlm.brand_calls import check, sends_to, unasked
from tests.endpoints import Bad, endpoint, openai
from tests.helpers import go, rows, write_clip
from tests.sign_faces import logo_image
from tests.test_brands import STAGES, frame
from transforms.brands.asking import AskCloudParams, AskLocalParams, brand_question, enlarged

pytest.importorskip("openai", reason="the extra `vlm` is not installed")


def answers(workspace: Workspace, table: schemas.Table) -> list[dict[str, Any]]:
    return [each for row in rows(workspace, table).to_dicts() for each in row["answers"]]


def states(workspace: Workspace, table: schemas.Table) -> set[tuple[str, str | None]]:
    return {(each["state"], each["brand"]) for each in answers(workspace, table)}


def exposure(workspace: Workspace) -> list[tuple[str, float]]:
    return [(row["brand"], row["visible_s"]) for row in rows(workspace, schemas.EXPOSURE).to_dicts()]


@pytest.mark.process
@pytest.mark.slow
def test_local_then_cloud_and_what_is_skipped_is_asked_by_a_later_run(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    for name in ("SKIP_VLM", "SKIP_CLOUD", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Two brands with one logo: which of both a board shows stays open.
    cv2.imwrite(str(tmp_path / "moon.png"), logo_image(256))
    brands = [f"{{name: {name}, logos: [moon.png]}}" for name in ("Halvmaane", "Sister")]
    (tmp_path / "brands.yaml").write_text(f"brands: [{', '.join(brands)}]")
    workspace.create()
    import_dictionary(Store(workspace.root), tmp_path / "brands.yaml")
    clip = write_clip(tmp_path / "match.mp4", [frame(at) for at in range(4, 16)], [200 * at for at in range(12)])

    def run(*more: str) -> RunRecord:
        return go(workspace, clip, settings=[STAGES, *more])

    with endpoint(openai) as local, endpoint(openai) as cloud:
        local.judge = lambda _: {"brand": None, "sure": False}
        cloud.judge = lambda _: {"brand": "Sister", "sure": True}
        ours = (f"ask_local.url={local.url}/v1", "ask_local.model=seer", "ask_local.per_minute=60000")
        theirs = ("ask_cloud.model=sage", "ask_cloud.per_minute=60000", "ask_cloud.attempts=1")
        away = ("ask_cloud.url=https://models.example/v1", "ask_cloud.usd_in=1", "ask_cloud.usd_out=1")
        monkeypatch.setenv("SKIP_VLM", "1")
        first = run(*ours)
        n = len(answers(workspace, schemas.ASKED_LOCAL))
        assert n > 0
        assert {each["why"] for each in answers(workspace, schemas.ASKED_LOCAL)} == {"SKIP_VLM is set"}
        assert [seconds for _, seconds in exposure(workspace)] in ([], [0.0])
        assert "ask_local: brands stay open on" in str(unasked(first.outcomes["ask_local"], AskLocalParams()))
        # The own model is asked, once for each crop, and is not sure; the other one may not be asked.
        monkeypatch.delenv("SKIP_VLM")
        monkeypatch.setenv("SKIP_CLOUD", "1")
        monkeypatch.setenv("SAGE_KEY", "k")
        run(*ours, *theirs, *away, "ask_cloud.key_env=SAGE_KEY")
        assert states(workspace, schemas.ASKED_LOCAL) == {("unsure", None)}
        assert len(local.asked) == n
        assert {each["why"] for each in answers(workspace, schemas.ASKED_CLOUD)} == {"SKIP_CLOUD is set"}
        # What fails keeps no run from its end, and is asked again.
        monkeypatch.delenv("SKIP_CLOUD")
        cloud.bad = [Bad(status=500), Bad(text="no JSON"), Bad(text='{"brand": "Acme", "sure": true}')]
        here = (*theirs, f"ask_cloud.url={cloud.url}/v1", "ask_cloud.parallel=1")
        run(*ours, *here)
        known = states(workspace, schemas.ASKED_CLOUD)
        assert ("failed", None) in known
        assert known <= {("failed", None), ("answered", "Sister")}
        done = run(*ours, *here, "ask_cloud.attempts=3")
        assert states(workspace, schemas.ASKED_CLOUD) == {("answered", "Sister")}
        assert len(local.asked) == n
        assert unasked(done.outcomes["ask_cloud"], AskCloudParams()) is None
    ((brand, seconds),) = exposure(workspace)
    assert brand == "Sister"
    assert seconds == pytest.approx(2.2, abs=0.2)
    assert set(rows(workspace, schemas.APPEARANCES)["how"]) == {"vlm"}
    # No image of more than a crop was sent, and no crop twice.
    ledger = rows(workspace, schemas.ESCALATIONS)
    assert set(ledger["model"]) == {"seer", "sage"}
    assert ledger["call_id"].n_unique() == ledger.height
    shutil.rmtree(workspace.root)


def test_settings_are_refused_by_the_name_of_their_section() -> None:
    with pytest.raises(UserError, match=r"ask_cloud\.usd_in"):
        check(AskCloudParams(url="https://models.example/v1", model="m", key_env="SAGE_KEY"))
    with pytest.raises(UserError, match=r"ask_local\.model"):
        check(AskLocalParams(url="http://localhost:1/v1"))
    assert sends_to(AskLocalParams(url="http://localhost:1/v1")).startswith(
        "single crops of frames to http://localhost"
    )
    from conf import load

    with pytest.raises(ConfigError, match=r"ask_local\.key_env"):
        load("brands", settings=("ask_local.key_env=AWS_SECRET_ACCESS_KEY",))
    assert "ask_local" not in load("brands").config.closed_stages
    assert "ask_local" in load("brands", settings=("ask_local.model=seer",)).config.closed_stages


def test_answers_name_a_brand_of_the_list_or_none() -> None:
    asked = brand_question(["Nordvig", "Ferrano"])
    assert asked.read('{"brand": "Nordvig", "sure": true}').brand == "Nordvig"
    assert asked.read('{"brand": null, "sure": true}').brand is None
    for text in ('{"brand": "Acme", "sure": true}', '{"brand": "Nordvig"}', "Nordvig", '{"brand": 3, "sure": true}'):
        with pytest.raises(ValueError, match=r"expected|brand|sure|the answer"):
            asked.read(text)
    assert asked.call_id("m", "1") != asked.call_id("m", "2")
    assert asked.call_id("m", "1") != brand_question(["Nordvig"]).call_id("m", "1")
    crop = bytes(cv2.imencode(".jpg", np.zeros((48, 300, 3), np.uint8))[1])
    for long_side, size in ((2000, (192, 1200)), (600, (96, 600))):
        sent = cv2.imdecode(np.frombuffer(enlarged(crop, long_side), np.uint8), cv2.IMREAD_COLOR)
        assert sent is not None
        assert sent.shape[:2] == size
