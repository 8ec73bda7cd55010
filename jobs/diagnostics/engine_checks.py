"""Checks of `winnow doctor` of what a run needs besides tables: the engine, and the weights of models."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from conf import Loaded, Resources
from jobs.core.errors import UserError, one_line
from jobs.core.interpreter import python, python_environment
from jobs.diagnostics.finding import Finding, size_text
from jobs.engine.ray_engine import check_address
from jobs.models.locations import folder
from jobs.models.weights_store import entries
from jobs.stages.build import build

_PATIENCE_S = 120.0
_SHARED = Path("/dev/shm")  # noqa: S108 - it is what Ray keeps its objects in
_ANSWER = "import sys; from jobs.engine.lazy_engine import answer; print(answer(int(sys.argv[1])))"


def shared_memory(limits: Resources) -> Iterator[Finding]:
    """Check that there is as much shared memory as a run would request; only on Linux."""
    if not _SHARED.is_dir():
        return
    free, asked = shutil.disk_usage(_SHARED).free, limits.object_store_mb << 20
    if free < asked:
        fix = "give it more (docker run --shm-size=1g), or set resources.object_store_mb lower"
        yield Finding("shared memory", "broken", f"{size_text(free)} free, Ray asks for {size_text(asked)}", fix)
    else:
        yield Finding("shared memory", "ok", f"{size_text(free)} free, Ray asks for {size_text(asked)}")


def engine(limits: Resources, patience_s: float = _PATIENCE_S) -> Finding:
    """Start an engine in a process of its own that a worker answers, or ask the one that `$RAY_ADDRESS` names."""
    try:
        check_address(None)
    except UserError as error:
        return Finding("engine", "broken", one_line(error), "start it, or unset $RAY_ADDRESS to have one of your own")
    command = python("-c", _ANSWER, str(limits.object_store_mb))
    # A group of its own, since an engine that hangs has processes that do as well.
    asked = subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=python_environment(),
        start_new_session=True,
    )
    fix = "read what it says above, and the logs of the newest session in Ray's folder of temporary files"
    try:
        said, complaint = asked.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        os.killpg(asked.pid, signal.SIGKILL)
        asked.communicate()
        return Finding("engine", "broken", f"Ray did not start within {patience_s:.0f} s", fix)
    if asked.returncode:
        lines = [line for line in complaint.splitlines() if line.strip()]
        why = one_line(lines[-1]) if lines else f"exit code {asked.returncode}"
        return Finding("engine", "broken", f"Ray does not start: {why}", fix)
    return Finding("engine", "ok", said.strip().splitlines()[-1])


def weights(loaded: Loaded | None, verify: bool) -> Iterator[Finding]:
    """Check the weights that are here, and those that the stages of a configuration need."""
    found = entries(verify=verify)
    here = [e for e in found if e.state != "missing"]
    for entry in here:
        if entry.state == "altered":
            fix = f"remove it, then winnow models pull {entry.model.name}"
            yield Finding("weights", "broken", f"{entry.path}: {entry.wrong}", fix)
        elif entry.state == "unrecorded":
            fix = f"winnow models pull {entry.model.name} --from {entry.path}"
            yield Finding("weights", "note", f"{entry.path} has no hash on record", fix)
    sound = [e.model.name for e in here if e.state == "present"]
    hashed = ", as their hashes say" if verify and sound else ""
    yield Finding("weights", "ok", f"{len(sound)} of {len(found)} of the catalogue are in {folder()}{hashed}")
    if loaded is None:
        return
    try:
        stages = [stage for stage in build(loaded.config) if stage.kind == "model"]
    except UserError as error:
        for problem in error.problems:
            text, _, fix = one_line(problem).rpartition("; ")
            yield Finding(f"profile {loaded.profile}", "broken", text or fix, fix if text else "winnow models list")
        return
    for stage in stages:
        named = [str(value)[:16] for key, value in stage.params.items() if key.endswith("weights_hash") and value]
        yield Finding(f"stage {stage.name}", "ok", f"has its weights, {named[0]}…" if named else "needs no weights")
    if not stages:
        yield Finding(f"profile {loaded.profile}", "ok", "shows frames to no model")
