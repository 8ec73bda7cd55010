from __future__ import annotations

import dataclasses

import pytest

from conf import load
from conf.model_catalogue import catalogue
from jobs.web import submissions
from jobs.web.problems import ForbiddenError

_NAME = next(iter(catalogue()))


@pytest.mark.parametrize(
    "setting",
    [
        "curation.dark_mean=20",
        "curation.dark_mean=-2.5e-3",
        "stages=[+idle]",
        "annotate.weights=null",
        f"annotate.weights={_NAME}",
        "annotate.prompts=[car, bus]",
    ],
)
def test_numbers_switches_and_names_are_for_admins_of_a_project(setting: str) -> None:
    assert list(submissions.wrong_settings([setting])) == []


@pytest.mark.parametrize(
    "setting",
    [
        "annotate.weights=/etc/passwd",
        "annotate.weights=passwd",
        "annotate.weights=hf:somebody/model",
        "annotate={weights: passwd}",
        "segment.weights=passwd",
        "embed.model=passwd",
        "ingest.glob=x",
        "route.larger=passwd",
        "caption.prompt=hello",
        # What is sent to whom, with which variable of the environment, and how much it may cost.
        "escalate.key_env=AWS_SECRET_ACCESS_KEY",
        "escalate.url=http://169.254.169.254/",
        "escalate.api=openai",
        "escalate.max_usd=1000",
        "escalate={max_usd: 1000}",
        "escalate=null",
        " escalate.max_usd=1000",
        "when.annotate=frame_idx % 2 = 0",
        "curation.dark_mean",
    ],
)
def test_files_addresses_services_and_variables_are_not(setting: str) -> None:
    (line,) = submissions.wrong_settings([setting])
    assert line.endswith(("set by admins of the server", "set up by admins of the server"))


def test_every_setting_that_is_one_text_is_one_of_these() -> None:
    """A setting that is added is refused until it is known to be no file, address or variable."""
    texts = submissions._texts()
    for section in ("annotate", "segment", "propagate", "caption", "embed"):
        assert f"{section}.weights" in texts
    assert {"escalate.key_env", "escalate.url", "ingest.glob"} <= texts
    assert not texts & {"curation.dark_mean", "annotate.prompts"}


def test_stages_that_ask_a_service_are_for_admins_of_the_server() -> None:
    plain = load("quality").config
    submissions.refuse_services(plain)
    asking = dataclasses.replace(plain, stages=(*load("quality").config.stages, "escalate"))
    with pytest.raises(ForbiddenError, match="escalate sends frames to a service"):
        submissions.refuse_services(asking)
    with pytest.raises(ForbiddenError, match="escalate"):
        submissions.refuse_services(asking, plain)
    # A replay of a run that an admin of the server had ask one.
    submissions.refuse_services(asking, asking)
