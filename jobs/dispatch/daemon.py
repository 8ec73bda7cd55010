"""Start and stop of a gateway in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from jobs.core.errors import RunFailedError, UserError
from jobs.core.interpreter import python, python_environment
from jobs.core.processes import has_ended, is_here
from jobs.dispatch import control_token
from jobs.dispatch.gateway_files import lock_path, output_path
from jobs.storage import paths
from jobs.storage.locks import lock_holder
from jobs.storage.paths import Place

_START_S = 30.0
_MARGIN_S = 10.0
_LOOK_S, _LOOK_FAR_S = 0.05, 0.5


def start(root: Place, options: Sequence[str]) -> dict[str, Any]:
    """Start a gateway that outlives this process, and return its note about itself once it is ready.

    Raises `UserError` if there is one already, or with the errors of the new one if it cannot start.
    """
    refuse_second(root)
    process, output = spawn(root, options)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = lock_holder(lock_path(root))
        if found and found.get("pid") == process.pid and found.get("ready"):
            return found
        if process.poll() is not None:
            raise UserError(last_words(output))
        time.sleep(paths.poll_interval_s(root, _LOOK_S, _LOOK_FAR_S))
    raise RunFailedError(f"the gateway did not get to work within {_START_S:.0f} s; see {output}")


def last_words(output: Path) -> list[str]:
    """Return the lines that a gateway that has ended wrote into its output."""
    lines = output.read_text(errors="replace").splitlines()
    return [line.removeprefix("error: ") for line in lines] or ["the gateway ended at once"]


def spawn(root: Place, options: Sequence[str] = ()) -> tuple[subprocess.Popen[bytes], Path]:
    """Start the process of a gateway that outlives this one; return it, and the file of what it prints."""
    kept = output_path(root)
    output = kept.on_disk() or Path(mkdtemp(prefix="winnow-")) / kept.name
    output.parent.mkdir(parents=True, exist_ok=True)
    command = python("-m", "jobs.cli", "gateway", "start", "--foreground", "--quiet")
    with open(output, "wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - its own program
            [*command, "--workspace", str(root), *options],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=python_environment(),
            start_new_session=True,
            # It must not keep a file system from being unmounted.
            cwd="/",
        )
    return process, output


def refuse_second(root: Place) -> None:
    """Raise `UserError` if the workspace at `root` has a gateway."""
    if found := lock_holder(lock_path(root)):
        raise UserError(f"workspace {root} has a gateway already: process {found.get('pid')} on {found.get('host')}")


def stop(root: Place) -> dict[str, Any]:
    """Ask the gateway to stop, wait until its jobs are back in the queue, and return its note about itself.

    Raises `UserError` if there is none, if it is on another machine, or without the control token of the workspace.
    """
    control_token.check(root)
    found = lock_holder(lock_path(root))
    if not found:
        raise UserError(f"workspace {root} has no gateway; `winnow gateway start` starts one")
    if not is_here(found):
        raise UserError(f"the gateway of {root} is process {found['pid']} on {found['host']}: stop it there")
    if not has_ended(found):
        os.kill(found["pid"], signal.SIGTERM)
    deadline = time.monotonic() + found["grace_s"] + _MARGIN_S
    while (now := lock_holder(lock_path(root))) and now.get("pid") == found["pid"]:
        if time.monotonic() > deadline:
            raise RunFailedError(f"the gateway, process {found['pid']}, does not end")
        time.sleep(paths.poll_interval_s(root, _LOOK_S, _LOOK_FAR_S))
    return found
