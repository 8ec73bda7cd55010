"""Where a configuration would send frames and keys is printed before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf import load
from jobs.stages.services import destinations
from tests.helpers import winnow

ASKS = (
    "stages=[frames, annotate, route, escalate]",
    "annotate.detector=motion",
    "route.budget_vlm=5",
    "escalate.model=seer",
)


@pytest.fixture(autouse=True)
def nothing_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SKIP_VLM", "SKIP_CLOUD", "WINNOW_INFERENCE_URL"):
        monkeypatch.delenv(name, raising=False)


def lines(*settings: str) -> list[str]:
    return destinations(load(settings=settings).config)


def test_destinations_are_those_of_the_stages_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines() == lines("escalate.url=https://elsewhere.test/v1") == []
    own = "stage escalate sends single frames to the own address of openai, with the key in $OPENAI_API_KEY; "
    assert lines(*ASKS) == [f"{own}SKIP_CLOUD=1 sends none"]
    foreign = (*ASKS, "escalate.url=https://elsewhere.test/v1")
    there = "stage escalate sends single frames to https://elsewhere.test/v1, with "
    assert lines(*foreign) == [f"{there}no key; SKIP_CLOUD=1 sends none"]
    assert lines(*foreign, "escalate.key_env=SEER_KEY") == [f"{there}the key in $SEER_KEY; SKIP_CLOUD=1 sends none"]
    here = (*ASKS, "escalate.url=http://127.0.0.1:8000/v1")
    assert lines(*here)[0].endswith("http://127.0.0.1:8000/v1, with no key; SKIP_VLM=1 sends none")
    monkeypatch.setenv("WINNOW_INFERENCE_URL", "http://models.test:8000")
    shown = "frames that a model is shown are sent to http://models.test:8000, as $WINNOW_INFERENCE_URL says"
    assert lines(*ASKS)[1:] == [shown]
    assert lines() == []
    monkeypatch.setenv("SKIP_CLOUD", "1")
    assert lines(*foreign) == [shown]
    assert len(lines(*here)) == 2


@pytest.mark.parametrize("command", ["run", "submit"])
def test_commands_print_it_once_and_first(tmp_path: Path, command: str) -> None:
    config = tmp_path / "from_elsewhere.yaml"
    config.write_text(
        "stages: [frames, annotate, route, escalate]\nannotate: {detector: motion}\nroute: {budget_vlm: 5}\n"
        "escalate: {model: seer, url: 'https://elsewhere.test/v1', key_env: SEER_KEY}\n"
    )
    (tmp_path / "cam").mkdir()
    words = ("--input", tmp_path / "cam", "--config", config, "--workspace", tmp_path / "tables")
    result = winnow(command, *words, "--dry-run")
    said = " ".join(result.stderr.split())
    assert said.count("sends single frames to https://elsewhere.test/v1, with the key in $SEER_KEY") == 1
    assert not (tmp_path / "tables").exists()
