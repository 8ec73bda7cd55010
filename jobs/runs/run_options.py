"""The options of a run as the command line, a schedule or a server receives them, and the request made of them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conf import ConfigError, load
from jobs.core.choices import OnError
from jobs.core.errors import UserError
from jobs.ingest.catalogue import IngestOverrides, at_a_glance
from jobs.runs.prepare import RunRequest
from jobs.runs.run_option_help import RUN_OPTION_HELP as HELP
from jobs.stages.build import step_named
from jobs.storage.workspace import Workspace
from jobs.uploads.named_inputs import is_named, resolved


class RunOptions(BaseModel):
    """The options of `winnow run`, `winnow submit` and `winnow schedule add`.

    `model_dump(mode="json")` gives plain values, and `parse` reads them back. Schedules and their jobs keep these on
    disk, so that the names of the fields are a format.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Annotated[tuple[str, ...], Field(description=HELP["inputs"])]
    profile: Annotated[str | None, Field(description=HELP["profile"])] = None
    config: Annotated[str | None, Field(description=HELP["config"])] = None
    settings: Annotated[tuple[str, ...], Field(description=HELP["settings"])] = ()
    add_stages: Annotated[tuple[str, ...], Field(description=HELP["add_stages"])] = ()
    stream_ids: Annotated[tuple[str, ...], Field(description=HELP["stream_ids"])] = ()
    rebind: Annotated[bool, Field(description=HELP["rebind"])] = False
    allow_missing: Annotated[bool, Field(description=HELP["allow_missing"])] = False
    limit: Annotated[int | None, Field(description=HELP["limit"], ge=0)] = None
    ray_address: Annotated[str | None, Field(description=HELP["ray_address"])] = None
    on_error: Annotated[OnError, Field(description=HELP["on_error"])] = "quarantine"
    pause_after: Annotated[str | None, Field(description=HELP["pause_after"])] = None
    strict: Annotated[bool, Field(description=HELP["strict"])] = False
    reread: Annotated[bool, Field(description=HELP["reread"])] = False

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> RunOptions:
        """Return options read from plain values. Raises `UserError` with a line for every field that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UserError([_explain(found) for found in error.errors(include_url=False)]) from error

    def with_absolute_paths(self) -> RunOptions:
        """Return the same options for a process that runs in another folder."""
        config = self.config and _absolute(self.config)
        return self.model_copy(update={"inputs": tuple(map(_absolute, self.inputs)), "config": config})


def build_request(workspace: str | os.PathLike[str] | None, options: RunOptions) -> RunRequest:
    """Return the request for a run. Raises `UserError` with everything that is wrong with the options.

    `workspace` is a folder or URI; None is `$WINNOW_WORKSPACE`, else `.winnow`.
    """
    problems: list[str] = []
    loaded = place = None
    try:
        loaded = load(options.profile, options.config, (*options.settings, *adding(options.add_stages)))
    except ConfigError as error:
        problems += error.problems
    try:
        place = Workspace.at(workspace)
    except UserError as error:
        problems += error.problems
    try:
        if options.pause_after and loaded:
            step_named(options.pause_after, loaded.config)
    except UserError as error:
        problems += error.problems
    inputs = options.inputs
    try:
        inputs = options.inputs if place is None else resolved(place, options.inputs)
    except UserError as error:
        problems += error.problems
        inputs = tuple(each for each in options.inputs if not is_named(each))
    overrides = IngestOverrides(options.stream_ids, options.rebind, options.allow_missing, options.reread)
    if problems or loaded is None or place is None:
        # Names of a workspace that cannot be used were not looked up.
        paths = [each for each in inputs if not is_named(each)]
        raise UserError([*problems, *(at_a_glance(paths, overrides) if paths or not options.inputs else [])])
    return RunRequest(
        place,
        inputs,
        loaded,
        overrides,
        limit=options.limit,
        ray_address=options.ray_address,
        on_error=options.on_error,
        pause_after=options.pause_after,
        strict=options.strict,
    )


def adding(stages: Sequence[str]) -> list[str]:
    """Return the setting that adds stages to those of the configuration, if there are any."""
    return [f"stages=[{', '.join(f'+{stage}' for stage in stages)}]"] if stages else []


def _absolute(path: str) -> str:
    return path if "://" in path or is_named(path) else str(Path(path).expanduser().absolute())


def _explain(error: Any) -> str:
    """Return one error of pydantic as a line: the field, what was expected and what was found."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"{place}: required; {HELP[place]}"
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(place, HELP, 1, 0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else f"; expected one of {', '.join(HELP)}"
        return f"{place}: unknown option{hint}"
    if error["type"] in {"tuple_type", "list_type"}:
        return f"{place}: expected a list, found {error['input']!r}"
    return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}, found {error['input']!r}"
