"""What people may ask a server to run. A server reads no files for somebody that they may not read themselves.

Admins of the server may name any input and any setting, as on the command line. Admins of a project name streams that
their project has, and settings that are no addresses: numbers, switches and names. They name models of the catalogue,
not files, and neither have frames sent to a service nor choose the variable of the environment with its key: what
leaves the machine, and what is paid for, is decided by admins of the server.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType
from typing import get_args, get_origin, get_type_hints

import schemas
from conf import ConfigError, PipelineConfig, load
from conf.model_catalogue import catalogue
from conf.stages import SPECS
from jobs.core.errors import UserError
from jobs.runs.run_options import RunOptions, adding
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.uploads.named_inputs import is_named
from jobs.web.problems import ForbiddenError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,100}=[-+A-Za-z0-9_., \[\]]{0,500}")
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?")
_WORDS = re.compile(r"[-+A-Za-z0-9_, \[\]]*")


def check(workspace: Workspace, options: RunOptions, is_server_admin: bool) -> None:
    """Raise `UserError` or `ForbiddenError`, with everything that somebody may not ask for in this project."""
    if options.config is not None:
        raise UserError("config: files are read by the command line alone; give a profile and settings")
    if is_server_admin:
        return
    problems = [*_foreign_inputs(workspace, options.inputs), *wrong_settings(options.settings)]
    if options.ray_address is not None:
        problems.append("ray_address: clusters are named by admins of the server")
    if problems:
        raise ForbiddenError(problems)
    try:
        config = load(options.profile, None, (*options.settings, *adding(options.add_stages))).config
    except ConfigError as error:
        raise UserError(error.problems) from error
    refuse_services(config)


def refuse_services(config: PipelineConfig, before: PipelineConfig | None = None) -> None:
    """Raise `ForbiddenError` for stages that send frames to a service, but for those of a run that there was before."""
    known = set(before.closed_stages) if before is not None else set()
    if found := [name for name in config.closed_stages if SPECS[name].calls is not None and name not in known]:
        raise ForbiddenError(
            f"stages: {', '.join(found)} sends frames to a service: admins of the server submit such runs"
        )


def wrong_settings(settings: Iterable[str]) -> Iterator[str]:
    """Yield a line for each setting that is neither a number, a switch, a name, nor a list of these."""
    for setting in settings:
        key, _, value = setting.partition("=")
        value = value.strip()
        if key.partition(".")[0] in _services():
            yield f"settings: {setting[:80]!r}: services are set up by admins of the server"
        elif key in _texts():
            if value != "null" and value not in catalogue():
                yield f"settings: {setting[:80]!r}: paths, addresses and texts are set by admins of the server"
        elif not _PLAIN.fullmatch(setting) or not (
            _WORDS.fullmatch(value) or all(_NUMBER.fullmatch(part.strip()) for part in value.strip("[]").split(","))
        ):
            yield f"settings: {setting[:80]!r}: paths, addresses and texts are set by admins of the server"


@cache
def _services() -> frozenset[str]:
    """Return the sections of the configuration that say which service is asked."""
    return frozenset(spec.calls.section for spec in SPECS.values() if spec.calls is not None)


@cache
def _texts() -> frozenset[str]:
    """Return the settings that are one text: files, models, patterns, addresses, variables of the environment."""
    found = set()
    for section in dataclasses.fields(PipelineConfig):
        if dataclasses.is_dataclass(section.default):
            for name, kind in get_type_hints(type(section.default)).items():
                parts = {kind} if get_origin(kind) is None else set(get_args(kind))
                if str in parts and parts <= {str, NoneType}:
                    found.add(f"{section.name}.{name}")
    return frozenset(found)


def _foreign_inputs(workspace: Workspace, inputs: Iterable[str]) -> Iterator[str]:
    known: set[str] = set()
    if workspace.exists:
        known = set(Store(workspace.root).read(schemas.STREAMS, ("uri",))["uri"].to_pylist())
    for source in inputs:
        if source not in known and not is_named(source):
            yield (
                f"inputs: {source[:200]!r} is no stream of this project; send files as uploads, or have an admin of "
                "the server add it"
            )
