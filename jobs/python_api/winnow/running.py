"""Configurations and runs, for Python programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conf import ConfigError, Loaded
from conf import load as compose
from conf.loader import flat, override
from jobs.core.choices import OnError
from jobs.core.errors import UserError
from jobs.records.run_record import RunRecord
from jobs.runs.run import run as execute
from jobs.runs.run_options import RunOptions, adding, build_request

Settings = Mapping[str, Any] | Sequence[str]
"""Values on top of a profile: `{"duplicates.hamming": 4}`, nested mappings, or `["duplicates.hamming=4"]`."""

PathLike = str | os.PathLike[str]


def load(profile: str | None = None, *, config: PathLike | None = None, settings: Settings = ()) -> Loaded:
    """Return a configuration: a built-in profile, then a file on top of it, then settings, the last one winning.

    Args:
        profile: Name of a built-in profile; None for the one that the file names, or else `quality`.
        config: A YAML file, or `FILE.py:attribute` (a `PipelineConfig` or a mapping).
        settings: Values by dotted keys or in nested mappings, or texts `key=value` as `--set` takes them.

    Raises:
        ConfigError: With every problem found, a line each in `problems`.

    >>> loaded = winnow.load("quality", settings={"duplicates": {"hamming": 4}})
    >>> loaded.profile, loaded.config.duplicates.hamming
    ('quality', 4)
    >>> winnow.load(settings=["duplicates.haming=4"])
    Traceback (most recent call last):
    conf.loader.ConfigError: unknown key 'duplicates.haming' (did you mean 'duplicates.hamming'?)
    """
    return compose(profile, None if config is None else os.fspath(config), _as_texts(settings))


def run(
    inputs: PathLike | Sequence[PathLike],
    workspace: PathLike | None = None,
    *,
    profile: str | None = None,
    config: PathLike | Loaded | None = None,
    settings: Settings = (),
    add_stages: Sequence[str] = (),
    stream_ids: Sequence[str] = (),
    limit: int | None = None,
    on_error: OnError = "quarantine",
    pause_after: str | None = None,
    strict: bool = False,
    reread: bool = False,
    rebind: bool = False,
    allow_missing: bool = False,
    ray_address: str | None = None,
) -> RunRecord:
    """Run the stages of a configuration on streams of frames, as `winnow run` does, and return the record of the run.

    What is up to date is not computed; a run that was interrupted is continued by running the same again.

    Args:
        inputs: Folders of frames, clips, or folders of such, one or several; `s3://` too.
        workspace: Folder or `s3://BUCKET/PREFIX` of the tables; None for `$WINNOW_WORKSPACE` or `.winnow`. It is made
            if it is not there.
        profile: Name of a built-in profile; see `load`.
        config: A file as `load` takes it, or what `load` returned.
        settings: Values on top of all, as `load` takes them.
        add_stages: Stages to run besides those of the configuration.
        stream_ids: Ids of the inputs, one for each; their names where empty.
        limit: Measure at most so many more frames.
        on_error: What a frame that cannot be read or measured does: it is quarantined, or ends the run.
        pause_after: Name of a stage after which the run pauses.
        strict: Call it a failure of the job if any frame is corrupt or quarantined.
        reread: Read every file, also those whose size and mtime are as before.
        rebind: Let a stream id refer to another place than before.
        allow_missing: Continue although over 10 % of a stream's frames are missing.
        ray_address: Address of a Ray cluster; None for `$RAY_ADDRESS`, or else this machine.

    Returns:
        The record: `job_id`, `state` (`done`; `paused` or `cancelled` if the run was asked to), `outcomes` (frames
        computed, reused, corrupt and quarantined, and seconds, by stage), `summary()` as plain values.

    Raises:
        UserError: Before anything is done, with every problem of the configuration, the workspace and the inputs.
        RunFailedError: If the run cannot continue; what it committed stays and is not computed again.

    >>> record = winnow.run("frames", settings={"curation.dark_mean": 20})
    >>> record.outcomes["quality"].computed, record.outcomes["quality"].reused
    (0, 122)
    """
    problems: list[str] = []
    texts: list[str] = []
    loaded: Loaded | None = None
    try:
        texts = _as_texts(settings)
        if isinstance(config, Loaded):
            loaded = Loaded(override(config.config, [*texts, *adding(add_stages)]), config.profile)
    except ConfigError as error:
        problems += error.problems
    if isinstance(config, Loaded) and profile is not None:
        problems.append(f"profile {profile!r}: expected none, as config is loaded already, from {config.profile!r}")
    given: dict[str, Any] = {
        "inputs": [os.fspath(each) for each in ([inputs] if isinstance(inputs, (str, os.PathLike)) else inputs)],
        "profile": None if isinstance(config, Loaded) else profile,
        "config": None if config is None or isinstance(config, Loaded) else os.fspath(config),
        "settings": () if isinstance(config, Loaded) else texts,
        "add_stages": () if isinstance(config, Loaded) else add_stages,
        "stream_ids": stream_ids,
        "rebind": rebind,
        "allow_missing": allow_missing,
        "limit": limit,
        "ray_address": ray_address,
        "on_error": on_error,
        "pause_after": None if loaded else pause_after,
        "strict": strict,
        "reread": reread,
    }
    try:
        request = build_request(workspace, RunOptions.parse(given))
    except UserError as error:
        raise UserError([*problems, *error.problems]) from error
    if problems:
        raise UserError(problems)
    return execute(replace(request, loaded=loaded, pause_after=pause_after) if loaded else request)


def _as_texts(settings: Settings) -> list[str]:
    """Return settings as `key=value` texts. Raises `ConfigError` for values that are no plain data."""
    if isinstance(settings, str):
        raise ConfigError([f"settings {settings!r}: expected a mapping, or a list of key=value texts"])
    if not isinstance(settings, Mapping):
        return list(settings)
    problems: list[str] = []
    texts = list(_written(flat(settings), problems))
    if problems:
        raise ConfigError(problems)
    return texts


def _written(values: Mapping[str, Any], problems: list[str]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, str) and key.startswith("when."):
            # Rules are SQL, which is not quoted.
            yield f"{key}={value}"
            continue
        try:
            yield f"{key}={json.dumps(value, ensure_ascii=False)}"
        except TypeError:
            problems.append(f"{key}: expected numbers, text and lists, found {type(value).__name__}")
