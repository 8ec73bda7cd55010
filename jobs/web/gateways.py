"""Gateways that a server starts with `--with-gateway`, one for each project, and ends with itself.

One that dies is started again, after longer and longer pauses. One that somebody stopped stays stopped, and one that
somebody else started is left alone. A server that is killed leaves its gateways at their jobs.
"""

from __future__ import annotations

import logging
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from jobs.core.errors import UserError, one_line
from jobs.dispatch import daemon
from jobs.dispatch.gateway_files import lock_path
from jobs.storage.locks import lock_holder
from jobs.storage.paths import Place
from jobs.web.projects import Project, Projects

PAUSES_S = (1.0, 4.0, 15.0, 60.0)
"""Seconds before a gateway that has died is started again; the last one holds for all further times."""

_LOOK_S = 1.0
_LIVED_S = 300.0
# As long as a gateway's own `--grace`, by default, and some more.
_END_S = 40.0
_LOG = logging.getLogger("winnow.web")


@dataclass
class _Kept:
    """The gateway of a project as this server knows it; `next_s` is when it may be started again."""

    process: subprocess.Popen[bytes] | None = None
    output: Path | None = None
    since_s: float = 0.0
    deaths: int = 0
    next_s: float = 0.0
    is_stopped: bool = False
    trouble: str = ""


class Gateways:
    """Keeps a gateway for each project, from `start` to `stop`."""

    def __init__(self, projects: Projects, pauses_s: tuple[float, ...] = PAUSES_S) -> None:
        self._projects = projects
        self._pauses_s = pauses_s
        self._kept: dict[str, _Kept] = {}
        self._is_over = Event()
        self._thread = Thread(target=self._keep, name="gateways", daemon=True)

    def start(self) -> None:
        """Start gateways where there is none, and watch them."""
        self._thread.start()

    def stop(self) -> None:
        """End the gateways that were started here: their jobs commit what is in flight and go back into the queue."""
        self._is_over.set()
        self._thread.join()
        mine = [kept.process for kept in self._kept.values() if kept.process is not None]
        for process in mine:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _END_S
        for process in mine:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _LOG.warning("the gateway, process %d, does not end; its jobs continue", process.pid)

    def _keep(self) -> None:
        while not self._is_over.is_set():
            for project in self._all():
                if not self._is_over.is_set():
                    self._look_after(project, self._kept.setdefault(project.path, _Kept()))
            self._is_over.wait(_LOOK_S)

    def _all(self) -> list[Project]:
        try:
            return self._projects.all()
        except OSError as error:
            _LOG.warning("projects cannot be listed: %s", one_line(error))
            return []

    def _look_after(self, project: Project, kept: _Kept) -> None:
        try:
            root = project.workspace().require().root
            if kept.process is not None and kept.process.poll() is not None:
                self._note_end(project, kept, kept.process.returncode)
            is_due = kept.process is None and not kept.is_stopped and time.monotonic() >= kept.next_s
            if is_due and not lock_holder(lock_path(root)):
                self._begin(project, kept, root)
            kept.trouble = ""
        except (UserError, OSError) as error:
            # A workspace may be moved, or of a newer version: it is logged once.
            if kept.trouble != (line := one_line(error)):
                _LOG.warning("project %s has no gateway: %s", project.name, line)
                kept.trouble = line

    def _begin(self, project: Project, kept: _Kept, root: Place) -> None:
        kept.process, kept.output = daemon.spawn(root)
        kept.since_s = time.monotonic()
        if kept.deaths:
            _LOG.warning("project %s: its gateway was started again, process %d", project.name, kept.process.pid)

    def _note_end(self, project: Project, kept: _Kept, code: int) -> None:
        kept.process = None
        if code == 0:
            kept.is_stopped = True
            _LOG.warning("project %s: somebody stopped its gateway; `winnow gateway start` starts one", project.name)
            return
        if time.monotonic() - kept.since_s > _LIVED_S:
            kept.deaths = 0
        pause_s = self._pauses_s[min(kept.deaths, len(self._pauses_s) - 1)]
        kept.deaths += 1
        kept.next_s = time.monotonic() + pause_s
        why = f"signal {-code}" if code < 0 else "; ".join(daemon.last_words(kept.output)[-3:] if kept.output else ())
        _LOG.warning("project %s: its gateway died (%s); it starts again in %g s", project.name, why, pause_s)
