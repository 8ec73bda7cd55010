"""Checks of `winnow doctor` of a machine and a workspace: what is missing or broken, and how to fix it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import schemas
from conf import Loaded, Resources
from jobs.core.devices import has_nvidia
from jobs.core.errors import BrokenTableError, UserError, one_line
from jobs.core.naming import many
from jobs.core.processes import has_ended
from jobs.core.requirements import DISTRIBUTION, extra_packages, required_packages
from jobs.diagnostics import engine_checks, file_checks, model_checks, table_checks
from jobs.diagnostics.finding import Finding, broken_table, size_text, some
from jobs.models.locations import FOLDER
from jobs.storage import maintenance, paths
from jobs.storage.paths import Place
from jobs.storage.store import Store
from jobs.storage.workspace import FORMAT, Workspace

_FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs")
_VARIANTS = {"faiss-cpu": _FAISS, "ultralytics-opencv-headless": ("ultralytics",)}
"""Packages that bring the same modules as one that is required."""

_LEAST_FREE = 2 << 30
_LEAST_OPEN_FILES = 1024


def examine(
    place: str | None = None,
    verify: bool = False,
    watch: Callable[[str], None] = lambda what: None,
    loaded: Loaded | None = None,
    start: bool = False,
) -> list[Finding]:
    """Return findings about this machine and the workspace at `place` (as `Workspace.at` takes it).

    With `verify` every data file that the newest tables and the releases refer to is hashed again, and weights that are
    here. With `start` an engine is started, as one would be for the configuration `loaded`. Reads only.
    """
    watch("machine")
    limits = loaded.config.resources if loaded else Resources()
    found = [*_packages(), *_hardware(limits)]
    watch("weights")
    found += engine_checks.weights(loaded, verify)
    if start:
        watch("engine")
        found.append(engine_checks.engine(limits))
    return [*found, *_workspace(place, verify, watch)]


def _packages() -> Iterator[Finding]:
    try:
        required, extras = required_packages(), extra_packages()
    except PackageNotFoundError:
        found = f"{DISTRIBUTION} has no metadata, so what it requires is not known: its checkout was never installed"
        yield Finding("packages", "broken", found, "pip install -e . in the checkout")
        required, extras = [], {}
    installed = {name: _version(name) for name in (DISTRIBUTION, *required)}
    if required:
        for name in (name for name, number in installed.items() if number is None):
            yield Finding("packages", "broken", f"{name} is not installed", "pip install winnow")
    several = [name for name in _FAISS if _version(name) is not None]
    if len(several) > 1:
        found = f"{' and '.join(several)} both bring the module faiss, of which one has overwritten parts of the other"
        fix = f"pip uninstall {' '.join(several)}; pip install 'winnow[gpu]', or 'winnow[embeddings]' without a GPU"
        yield Finding("packages", "broken", found, fix)
    versions = [f"{name} {number}" for name, number in installed.items() if number is not None]
    yield Finding("packages", "ok", ", ".join([f"python {platform.python_version()}", *versions]))
    for extra, names in extras.items():
        missing = [name for name in names if not any(map(_version, (name, *_VARIANTS.get(name, ()))))]
        if missing:
            yield Finding(f"extra {extra}", "note", f"without {', '.join(missing)}", f"pip install 'winnow[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _hardware(limits: Resources) -> Iterator[Finding]:
    yield Finding("cores", "ok", f"{os.cpu_count()}")
    yield _gpu()
    yield from engine_checks.shared_memory(limits)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files < _LEAST_OPEN_FILES:
        yield Finding("open files", "note", f"at most {files}", f"ulimit -n {_LEAST_OPEN_FILES * 4}")
    if (folder := os.environ.get(FOLDER)) and not Path(folder).is_dir():
        yield Finding(
            "weights", "broken", f"${FOLDER} names {folder}, which is no folder", "make it, or unset the variable"
        )


def _gpu() -> Finding:
    has_device = has_nvidia()
    if importlib.util.find_spec("torch") is None:
        if has_device:
            return Finding("gpu", "note", "there is one, but no torch to use it", "pip install 'winnow[embeddings]'")
        return Finding("gpu", "ok", "none, and no torch")
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
        return Finding("gpu", "ok", ", ".join(names))
    if has_device:
        return Finding(
            "gpu",
            "broken",
            f"the driver is there, but torch {torch.__version__} cannot use it",
            "match driver and torch",
        )
    return Finding("gpu", "ok", "none: models run on the processor")


def _workspace(place: str | None, verify: bool, watch: Callable[[str], None]) -> Iterator[Finding]:
    try:
        workspace = Workspace.at(place)
    except UserError as error:
        yield Finding("workspace", "broken", one_line(error), "name another with --workspace or $WINNOW_WORKSPACE")
        return
    if (folder := workspace.root.on_disk()) is not None:
        yield _disk(folder)
    if not workspace.exists:
        yield Finding("workspace", "note", f"none at {workspace.root} yet", "winnow run --input FOLDER")
        return
    if wrong := _unwritable(workspace.root):
        yield wrong
    yield Finding("workspace", "ok", f"{workspace.root}, format {FORMAT}")
    store = Store(workspace.root)
    watch("jobs")
    yield from table_checks.jobs(workspace.root)
    watch("tables")
    tables = list(_tables(store))
    yield from tables
    if any(finding.level == "broken" for finding in tables):
        yield Finding("files", "note", "not checked: not every table can be read", "fix the tables first")
        return
    watch("files")
    try:
        yield from _files(store, verify, watch)
    except BrokenTableError as error:
        # At a recorded version, from before it was created again or its log got a gap.
        yield broken_table("files", error)
    watch("models")
    yield from model_checks.versions(store, verify)
    yield from _runs(store)


def _disk(root: Path) -> Finding:
    nearest = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    if free < _LEAST_FREE:
        return Finding("disk", "broken", f"{size_text(free)} free at {nearest}", "make room, or name another workspace")
    return Finding("disk", "ok", f"{size_text(free)} free at {nearest}")


def _unwritable(root: Place) -> Finding | None:
    if (folder := root.on_disk()) is not None:
        if os.access(folder, os.W_OK):
            return None
        fix = "run as the user who owns it, or change its permissions"
        return Finding("workspace", "broken", f"{root} cannot be written", fix)
    try:
        # There is no asking whether one may, but to do it.
        paths.now_s(root)
    except OSError as error:
        fix = "use other credentials, or let these put and delete objects (docs/objectstore.md)"
        return Finding("workspace", "broken", f"{root} cannot be written: {one_line(error)}", fix)
    return None


def _tables(store: Store) -> Iterator[Finding]:
    found = list(table_checks.all_tables(store))
    yield from found
    if any(finding.level == "broken" for finding in found):
        return
    snapshots = [snapshot for table in schemas.ALL if (snapshot := store.open(table)).version >= 0]
    older = [f"{s.table.name} ({', '.join(s.later)})" for s in snapshots if s.later]
    if older:
        text = f"without columns that this version has: {', '.join(older)}"
        yield Finding("tables", "note", text, "the next run that writes to them adds what is missing")
    else:
        yield Finding("tables", "ok", f"{len(snapshots)}, as this version declares them")


def _files(store: Store, verify: bool, watch: Callable[[str], None]) -> Iterator[Finding]:
    referred = file_checks.referred(store)
    (found,) = file_checks.presence(store, referred)
    yield found
    if found.level == "broken":
        return
    unreferenced = sum(len(change.deleted) for change in maintenance.vacuum(store, "doctor", dry_run=True))
    if unreferenced:
        yield Finding("unreferenced files", "note", f"{unreferenced} to which nothing refers", "winnow tables vacuum")
    if verify:
        watch("hashes")
        yield file_checks.hashes(store, referred)


def _runs(store: Store) -> Iterator[Finding]:
    running = [
        r for r in store.read(schemas.RUNS, ("job_id", "state", "environment")).to_pylist() if r["state"] == "running"
    ]
    if dead := [r["job_id"] for r in running if has_ended(json.loads(r["environment"]))]:
        yield Finding(
            "runs", "note", f"{len(dead)} ended without saying so: {some(dead)}", "the next winnow run closes them"
        )
    n = store.open(schemas.QUARANTINE).n_rows
    if n:
        fix = "winnow inspect quarantine says why; the next run of their streams tries again"
        yield Finding("quarantine", "note", f"{many(n, 'frame', 'are')} quarantined", fix)
