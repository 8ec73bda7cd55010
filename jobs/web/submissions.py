"""What people may ask a server to run. A server reads no files for somebody that they may not read themselves.

Admins of the server may name any input and any setting, as on the command line. Admins of a project name streams that
their project has, and settings that are no addresses: numbers, switches and names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import schemas
from jobs.core.errors import UserError
from jobs.runs.run_options import RunOptions
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
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


def wrong_settings(settings: Iterable[str]) -> Iterator[str]:
    """Yield a line for each setting that is neither a number, a switch, a name, nor a list of these."""
    for setting in settings:
        value = setting.partition("=")[2].strip()
        if not _PLAIN.fullmatch(setting) or not (
            _WORDS.fullmatch(value) or all(_NUMBER.fullmatch(part.strip()) for part in value.strip("[]").split(","))
        ):
            yield f"settings: {setting[:80]!r}: paths, addresses and texts are set by admins of the server"


def _foreign_inputs(workspace: Workspace, inputs: Iterable[str]) -> Iterator[str]:
    known: set[str] = set()
    if workspace.exists:
        known = set(Store(workspace.root).read(schemas.STREAMS, ("uri",))["uri"].to_pylist())
    for source in inputs:
        if source not in known:
            yield f"inputs: {source[:200]!r} is no stream of this project; admins of the server add new ones"
