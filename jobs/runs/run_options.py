"""What a user asked for, as it comes from a command line, made a request for a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from conf import ConfigError, load
from jobs.core.errors import UserError
from jobs.ingest.catalogue import Admission, at_a_glance
from jobs.runs.prepare import RunRequest
from jobs.stages.pipeline import step_named
from jobs.storage.workspace import Workspace


@dataclass(frozen=True)
class Asked:
    """The options of `winnow run`, as they were given."""

    inputs: Sequence[str]
    profile: str | None = None
    config: str | None = None
    settings: Sequence[str] = ()
    stream_ids: Sequence[str] = ()
    rebind: bool = False
    allow_missing: bool = False
    limit: int | None = None
    ray_address: str | None = None
    on_error: Literal["quarantine", "abort"] = "quarantine"
    pause_after: str | None = None
    strict: bool = False
    reread: bool = False

    def elsewhere(self) -> Asked:
        """Return the same for a process that runs in another folder: with absolute paths."""
        config = self.config and _absolute(self.config)
        values = asdict(self) | {"inputs": [_absolute(i) for i in self.inputs], "config": config}
        return Asked(**values)


def requested(workspace: str | os.PathLike[str] | None, asked: Asked) -> RunRequest:
    """Return a request for a run. Raises `UserError` with everything that is wrong with it."""
    problems: list[str] = []
    loaded = place = None
    try:
        loaded = load(asked.profile, asked.config, asked.settings)
    except ConfigError as error:
        problems += error.problems
    try:
        place = Workspace.at(workspace)
    except UserError as error:
        problems += error.problems
    try:
        if asked.pause_after and loaded:
            step_named(asked.pause_after, loaded.config)
    except UserError as error:
        problems += error.problems
    admission = Admission(asked.stream_ids, asked.rebind, asked.allow_missing, asked.reread)
    if problems or loaded is None or place is None:
        raise UserError([*problems, *at_a_glance(asked.inputs, admission)])
    options = (asked.limit, asked.ray_address, asked.on_error, asked.pause_after)
    return RunRequest(place, asked.inputs, loaded, admission, *options, strict=asked.strict)


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().absolute())
