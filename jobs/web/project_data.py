"""What projects show now: read when somebody asks, refreshed when tables move, freed when nobody asks any more."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import schemas
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.snapshot_spec import current
from jobs.views.view import View
from jobs.web.frame_table import FrameTable
from jobs.web.projects import Project, Projects
from jobs.web.snapshots import Snapshots

_FRESH_S, _REMOTE_FRESH_S = 0.2, 5.0
_IDLE_S = 900.0
_MOST_RESULTS, _MOST_BYTES = 64, 16 << 20

T = TypeVar("T")


@dataclass
class Shown:
    """A version of a project's tables, which does not change, and answers that were computed from it.

    `version` is equal for equal tables.
    """

    workspace: Workspace
    store: Store
    version: str
    frames: FrameTable
    _results: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def view(self) -> View:
        """Return the view of this version."""
        return self.frames.view

    def result(self, key: Any, compute: Callable[[], T]) -> T:
        """Return an answer, computed unless it is one of the last ones."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                found: T = self._results[key]
                return found
        computed = compute()
        with self._lock:
            self._results[key] = computed
            while len(self._results) > 1 and self._is_full():
                self._results.popitem(last=False)
        return computed

    def _is_full(self) -> bool:
        held = sum(_size(result) for result in self._results.values())
        return len(self._results) > _MOST_RESULTS or held > _MOST_BYTES


def _size(result: Any) -> int:
    """Return the bytes of the array that an answer is, or that it has one of; what has none is small."""
    rows = getattr(result, "rows", result)
    return int(getattr(rows, "nbytes", 0))


class ProjectData:
    """One project: the version of its tables that is shown, and the snapshots of lists that pages show."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = Lock()
        self._store: Store | None = None
        self._shown: Shown | None = None
        self._checked_s = 0.0
        self.used_s = time.monotonic()
        self.snapshots = Snapshots()
        self.kept_by_run: dict[str, int | None] = {}
        """How many frames each finished run kept, which does not change any more."""

    def shown(self) -> Shown:
        """Return what the project shows now.

        Whether tables have moved is checked a few times a second at most. Raises `UserError` for a workspace that is
        not there, and `BrokenTableError` where its tables cannot be read.
        """
        with self._lock:
            self.used_s = now = time.monotonic()
            fresh_s = _FRESH_S if self._store is None or not self._store.root.is_remote else _REMOTE_FRESH_S
            if self._shown is None or now - self._checked_s >= fresh_s:
                self._shown = self._newest()
                self._checked_s = time.monotonic()
            return self._shown

    def check_again(self) -> None:
        """Have the next request see what was written just now."""
        with self._lock:
            self._checked_s = 0.0

    def _newest(self) -> Shown:
        workspace = self._project.workspace().require()
        if self._store is None or str(self._store.root) != str(workspace.root):
            self._store, self._shown = Store(workspace.root), None
        # In this order: a head moves after the rows that it shows were committed.
        tables = [schemas.HEADS, *(table for table in schemas.ALL if table is not schemas.HEADS)]
        version = ".".join(str(self._store.open(table).version) for table in tables)
        if self._shown is not None and self._shown.version == version:
            return self._shown
        store = self._store.as_seen()
        before = None if self._shown is None else self._shown.frames
        return Shown(workspace, store, version, FrameTable(store, current(store), before))


class ProjectsData:
    """The data of all projects that somebody requested lately."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._lock = Lock()
        self._held: dict[str, ProjectData] = {}

    def of(self, name: str) -> ProjectData:
        """Return the data of a project. Raises `MissingError` for an unknown one."""
        project = self._projects.named(name)
        with self._lock:
            if project.path not in self._held:
                self._held[project.path] = ProjectData(project)
            return self._held[project.path]

    def free_idle(self) -> None:
        """Forget projects that nobody requested in a quarter of an hour."""
        now = time.monotonic()
        with self._lock:
            for idle in [key for key, data in self._held.items() if now - data.used_s > _IDLE_S]:
                del self._held[idle]
