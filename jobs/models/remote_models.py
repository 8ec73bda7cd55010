"""Selection of remote models: which server runs a stage, and whether it has exactly the stage's model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jobs.core.errors import UserError
from jobs.core.stage import Stage, canonical
from transforms.models.inference import AnyModel
from transforms.models.remote import STAGES, InferenceServerError, RemoteModel, Server

URL = "WINNOW_INFERENCE_URL"
TOKEN = "WINNOW_INFERENCE_TOKEN"  # noqa: S105 - the name of a variable
# Few tries, so that an unreachable server is reported soon.
_TRIES = 2


def can_be_served(stage: Stage) -> bool:
    """Return whether a server can run a stage's model: only models that process frames independently."""
    return stage.kind == "model" and not stage.context


def check_server(stages: Sequence[Stage]) -> None:
    """Raise `UserError` unless the server of the environment has the models of these stages, with the same weights.

    Without a server in the environment nothing is checked.
    """
    wanted = [stage for stage in stages if can_be_served(stage)]
    url, token = _named()
    if not url or not wanted:
        return
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{URL}={url}: expected http://HOST:PORT of `winnow serve-models`")
    try:
        answer = Server(url, token, _TRIES).ask(STAGES)
        there = {each["stage"]: each for each in json.loads(answer)}
    except InferenceServerError as error:
        raise UserError(f"{URL}: {error}; start `winnow serve-models` there, or unset {URL}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{URL}={url}: expected a server of models, found another one") from error
    problems = [problem for stage in wanted for problem in _differences(stage, there.get(stage.name), url)]
    if problems:
        raise UserError(problems)


def make_model(stage: Stage) -> Callable[[int], AnyModel | RemoteModel]:
    """Return a factory for the model of a stage: local, or on the server of the environment."""
    assert stage.make is not None
    url, token = _named()
    if not url or not can_be_served(stage):
        return stage.make
    return partial(_remote, RemoteModel(url, token, stage.name, stage.key))


def describe(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return the description of stages that a server publishes."""
    return [{"stage": s.name, "key": s.key, "params": canonical(s.params)} for s in stages]


def server_named() -> str:
    """Return the address of the server of models that the environment names, empty for none."""
    return _named()[0]


def _named() -> tuple[str, str]:
    return os.environ.get(URL, "").strip(), os.environ.get(TOKEN, "").strip()


def _remote(model: RemoteModel, _threads: int) -> RemoteModel:
    return model


def _differences(stage: Stage, there: Mapping[str, Any] | None, url: str) -> list[str]:
    if there is None:
        return [f"the server of models at {url} has none for stage {stage.name}; start it with the profile of the run"]
    if there["key"] == stage.key:
        return []
    mine, theirs = canonical(stage.params), there["params"]
    names = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    if not names:
        return [f"the server of models at {url} has another version of winnow; install the same one there"]
    return [
        f"{name}: requested {mine.get(name)}, the server of models at {url} has {theirs.get(name)}; start it with the "
        "settings of the run"
        for name in names
    ]
