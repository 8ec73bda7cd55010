from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from jobs.cli import schedule, submit
from jobs.cli.options import JsonOption
from jobs.cli.run import run
from jobs.cli.run_parameters import PARAMETERS, takes_run_options
from jobs.core.errors import UserError

if TYPE_CHECKING:
    from jobs.runs.run_options import RunOptions


def test_run_submit_and_schedule_share_their_options() -> None:
    for command, left_out in (
        (run, set()),
        (submit.submit, set()),
        (schedule.add, {"limit", "pause_after", "strict", "reread"}),
    ):
        taken = inspect.signature(command).parameters
        assert {name for name in PARAMETERS if name not in taken} == left_out
        assert all(taken[name] == parameter for name, parameter in PARAMETERS.items() if name in taken)


def test_options_reach_the_command_as_one_value() -> None:
    seen: list[tuple[RunOptions, bool]] = []

    @takes_run_options("limit")
    def command(options: RunOptions, as_json: JsonOption = False) -> None:
        """Do nothing."""
        seen.append((options, as_json))

    given = {name: p.default for name, p in PARAMETERS.items() if name != "limit"}
    command(**{**given, "inputs": ["/cam"], "settings": ["idle.keep=2"], "as_json": True})
    ((options, as_json),) = seen
    assert (options.inputs, options.settings, options.stream_ids, options.limit) == (
        ("/cam",),
        ("idle.keep=2",),
        (),
        None,
    )
    assert (options.on_error, as_json, command.__doc__) == ("quarantine", True, "Do nothing.")
    assert "limit" not in inspect.signature(command).parameters


def test_a_file_is_no_profile() -> None:
    (info,) = (part for part in PARAMETERS["profile"].annotation.__metadata__ if part.callback)
    with pytest.raises(UserError, match="a file is given as --config"):
        info.callback("mine.yaml")
