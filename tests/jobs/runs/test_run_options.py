from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.run_parameters import PARAMETERS
from jobs.core.errors import UserError
from jobs.runs.run_option_help import RUN_OPTION_HELP
from jobs.runs.run_options import RunOptions, build_request

ALL: dict[str, Any] = {
    "inputs": ["/data/cam1", "s3://bucket/cam2"],
    "profile": "quality",
    "config": "/etc/mine.yaml",
    "settings": ["idle.keep=2"],
    "stream_ids": ["gate", "yard"],
    "add_stages": ["track"],
    "rebind": True,
    "allow_missing": True,
    "limit": 5,
    "ray_address": "local",
    "on_error": "abort",
    "pause_after": "idle",
    "strict": True,
    "reread": True,
}


def test_options_survive_json() -> None:
    options = RunOptions.parse(ALL)
    assert options.model_dump(mode="json") == ALL
    assert RunOptions.parse(json.loads(options.model_dump_json())) == options
    assert RunOptions.model_validate_json(json.dumps(ALL)) == options


def test_every_option_has_a_field_a_help_text_and_a_parameter() -> None:
    assert set(RunOptions.model_fields) == set(RUN_OPTION_HELP) == set(PARAMETERS) == set(ALL)
    assert {name: p.default for name, p in PARAMETERS.items() if p.default is not None and name != "inputs"} == {
        name: field.default
        for name, field in RunOptions.model_fields.items()
        if name != "inputs" and field.default not in (None, ())
    }


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        ({}, ["inputs: required; A folder of frames, a clip, or a folder of such. Repeat for several."]),
        (
            {"inputs": "/cam", "limit": -1},
            [
                "inputs: expected a list, found '/cam'",
                "limit: input should be greater than or equal to 0, found -1",
            ],
        ),
        ({"inputs": ["/cam"], "stream_id": ["a"]}, ["stream_id: unknown option (did you mean 'stream_ids'?)"]),
        (
            {"inputs": ["/cam", 3], "on_error": "ignore"},
            [
                "inputs.1: input should be a valid string, found 3",
                "on_error: input should be 'quarantine' or 'abort', found 'ignore'",
            ],
        ),
    ],
)
def test_all_invalid_run_options_are_reported_by_field(values: Any, problems: list[str]) -> None:
    with pytest.raises(UserError) as error:
        RunOptions.parse(values)
    assert error.value.problems == problems


def test_paths_become_absolute_and_addresses_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = RunOptions(inputs=["cam", "s3://bucket/cam"], config="mine.yaml").with_absolute_paths()
    assert (found.inputs, found.config) == ((str(tmp_path / "cam"), "s3://bucket/cam"), str(tmp_path / "mine.yaml"))


def test_a_request_carries_every_option(tmp_path: Path) -> None:
    (tmp_path / "cam").mkdir()
    values = ALL | {"inputs": [str(tmp_path / "cam")], "config": None, "stream_ids": ["gate"]}
    request = build_request(tmp_path / "tables", RunOptions.parse(values))
    data = request.as_data()
    assert {name: data[name] for name in values if name in data} | {"config": None} == {
        name: values[name] for name in values if name in data
    }
    assert (request.pause_after, request.loaded.config.idle.keep) == ("idle", 2)


def test_all_problems_of_a_request_are_reported_at_once(tmp_path: Path) -> None:
    options = RunOptions(inputs=["nowhere"], profile="qality", stream_ids=["a", "b"])
    with pytest.raises(UserError) as error:
        build_request(tmp_path / "tables", options)
    assert len(error.value.problems) == 3
