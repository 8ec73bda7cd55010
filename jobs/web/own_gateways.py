"""Gateways that a server starts for its projects, and stops when it ends: `winnow serve --with-gateway`."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from jobs.core.errors import UserError
from jobs.dispatch import daemon
from jobs.dispatch.gateway_files import lock_path
from jobs.storage.locks import lock_holder
from jobs.storage.paths import Place
from jobs.web.projects import Projects
from jobs.web.settings import Settings


class OwnGateways:
    """Starts a gateway for each project that has none, next to the server; ends those, and no others."""

    def __init__(self, settings: Settings, on_problem: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_problem = on_problem
        self._started: list[Place] = []
        self._is_over = False
        self._thread = Thread(target=self._start_all, name="gateways", daemon=True)

    def start(self) -> None:
        """Begin to start them, without waiting until they run."""
        self._thread.start()

    def stop(self) -> None:
        """Stop those that were started; their jobs go back into the queue."""
        self._is_over = True
        if self._thread.ident is not None:
            self._thread.join()
        for root in self._started:
            try:
                # Somebody may have stopped it on the page, or started another one.
                if lock_holder(lock_path(root)):
                    daemon.stop(root)
            except UserError as error:
                self._on_problem(str(error))

    def _start_all(self) -> None:
        try:
            roots = [project.workspace().root for project in Projects(self._settings).all()]
        except UserError as error:
            self._on_problem(str(error))
            return
        for root in roots:
            if self._is_over or lock_holder(lock_path(root)):
                continue
            try:
                daemon.start(root, ())
                self._started.append(root)
            except UserError as error:
                self._on_problem(f"no gateway runs for {root}: {error}")
