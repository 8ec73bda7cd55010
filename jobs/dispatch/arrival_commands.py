"""Keeping a rule of arrivals, after all checks that need no data."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from conf import ConfigError, load
from jobs.core.errors import UserError
from jobs.dispatch import arrivals, control_token
from jobs.dispatch.arrivals import ArrivalRule
from jobs.dispatch.arrived_items import source_folder
from jobs.runs.run_options import RunOptions, adding
from jobs.storage.workspace import Workspace
from jobs.uploads.named_inputs import UPLOAD


def add(
    workspace: str | os.PathLike[str] | None, name: str, options: RunOptions, debounce_s: float, priority: int = 0
) -> dict[str, Any]:
    """Keep a rule of the one folder that the options name, and return it. Raises `UserError` with all problems."""
    absolute = options.with_absolute_paths()
    problems: list[str] = []
    place = Workspace.at(workspace)
    if len(absolute.inputs) != 1:
        problems.append(f"--input: expected one folder that is watched, found {len(absolute.inputs)}")
    try:
        load(absolute.profile, absolute.config, (*absolute.settings, *adding(absolute.add_stages)))
    except ConfigError as error:
        problems += error.problems
    for source in absolute.inputs:
        try:
            if not source.startswith(UPLOAD) and not source_folder(place.root, source).is_dir():
                problems.append(f"--input {source}: expected a folder, found none")
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    place.create()
    control_token.check(place.root)
    asked = absolute.model_dump(mode="json") | {"inputs": []}
    rule = ArrivalRule(name, absolute.inputs[0], asked, debounce_s, priority)
    arrivals.save(place.root, rule)
    return asdict(rule)
