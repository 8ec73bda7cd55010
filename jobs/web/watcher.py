"""Watching the projects while somebody has a page open: jobs and tables that changed become events.

One task for all browsers, so that fifty open pages cost what one does; without any, nothing is read. A project is
watched a little longer than somebody follows it, for those whose connection was cut.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from jobs.core.errors import UserError
from jobs.storage.paths import Place, poll_interval_s
from jobs.web.event_ring import EventRing
from jobs.web.overviews import Overviews
from jobs.web.projects import Project, Projects

LINGER_S = 60.0
"""How long a project is watched after its last follower left."""

_NEAR_S, _FAR_S = 0.5, 2.0
_HEADS_LOG = ("heads", "_delta_log")
_LOG = logging.getLogger("winnow.web")


class Watcher:
    """Makes events of what changes in the projects that somebody follows."""

    def __init__(self, ring: EventRing, projects: Projects, overviews: Overviews, linger_s: float = LINGER_S) -> None:
        self._ring = ring
        self._projects = projects
        self._overviews = overviews
        self._linger_s = linger_s
        self._followers: dict[str, int] = {}
        self._left_at: dict[str, float] = {}
        self._jobs: dict[str, dict[str, dict[str, Any]]] = {}
        self._tables: dict[str, int | None] = {}
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def follow(self, projects: frozenset[str]) -> None:
        """Watch these projects for one follower more; what changes after this returns becomes an event."""
        for name in projects:
            self._followers[name] = self._followers.get(name, 0) + 1
        try:
            if not projects <= self._jobs.keys():
                await self._look_at(await asyncio.to_thread(self._watched))
        except BaseException:
            self.leave(projects)
            raise
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())

    def leave(self, projects: frozenset[str]) -> None:
        """Watch these projects for one follower less."""
        for name in projects:
            self._followers[name] -= 1
            self._left_at[name] = time.monotonic()

    async def _watch(self) -> None:
        while self._followers:
            await asyncio.sleep(await self._look_at(await asyncio.to_thread(self._watched)))
            self._forget()

    async def _look_at(self, projects: list[Project]) -> float:
        """Make events of what changed, and return after how many seconds to look again."""
        pause = _FAR_S
        async with self._looking:
            for project in projects:
                try:
                    news = await asyncio.to_thread(self._news_of, project)
                    pause = min(pause, poll_interval_s(project.workspace().root, _NEAR_S, _FAR_S))
                except (UserError, OSError) as error:
                    _LOG.warning("project %s cannot be watched: %s", project.name, error)
                    continue
                for kind, data in news:
                    self._ring.add(kind, project.name, data)
        return pause

    def _forget(self) -> None:
        """Stop watching what nobody followed for a while, and have those who come back fetch all of it."""
        now = time.monotonic()
        for name in [name for name, n in self._followers.items() if not n]:
            if now - self._left_at[name] >= self._linger_s:
                for known in (self._followers, self._left_at, self._jobs, self._tables):
                    known.pop(name, None)
                self._ring.add("reset", name, {})

    def _watched(self) -> list[Project]:
        return [project for project in self._projects.all() if project.name in self._followers]

    def _news_of(self, project: Project) -> list[tuple[str, dict[str, Any]]]:
        """Return what changed in a project since the last call; nothing for the first one."""
        workspace = project.workspace()
        version = _heads_changed(workspace.root)
        with self._overviews.of(project.name, workspace) as known:
            jobs = {row["job_id"]: row for row in known.summaries()}
        before, version_before = self._jobs.get(project.name), self._tables.get(project.name)
        self._jobs[project.name], self._tables[project.name] = jobs, version
        if before is None:
            return []
        news: list[tuple[str, dict[str, Any]]] = []
        news += [("job", row) for job_id, row in jobs.items() if before.get(job_id) != row]
        news += [("job_cleared", {"job_id": job_id}) for job_id in sorted(before.keys() - jobs.keys())]
        if version != version_before:
            news.append(("tables", {}))
        return news


def _heads_changed(root: Place) -> int | None:
    """Return when the current versions last moved, in ns; None where that is not known, as in a bucket."""
    folder = root
    for name in _HEADS_LOG:
        folder = folder / name
    try:
        return folder.changed_ns()
    except FileNotFoundError:
        return 0
