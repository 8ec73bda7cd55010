"""What was written to the tables of a workspace, recorded next to them, so that a table that is lost is missed.

A table cannot say itself that it is missing, or that its last commits are: it reads as empty, or as it was before. So
the folder `written/` has an empty file for each table, whose name says all: `heads.12.340.9f86d081884c7d65` is version
12 of `heads`, with 340 rows, and the hash of its list of files. Reading all of them is one listing.

What holds, with any number of writers, wherever one of them is killed:

- *A version is recorded after it was committed, never before.* The record may lag behind, by what a writer had
  committed when it was killed or when the disk was full; it is never ahead, so that no healthy workspace looks broken.
- *The highest version of a table counts.* Names are created, and lower ones of the same table deleted afterwards; a
  writer that is late adds a name that does not count. No file is ever changed, so that there is nothing to race for.
- *The record is read before the tables are.* What it says was committed by then, and is there unless it was lost.

Workspaces of versions without this record have no such folder: nothing is compared until a run has written it. The jobs
record the same at their end (`jobs/records/job_log.py`), for `winnow doctor` and for what deletes.

A loss for which there is no backup has to be accepted by hand, by `winnow tables accept-loss`: the file
`heads.accepted.NS` says when (ns since 1970), and that older records of this table do not count.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from jobs.storage.delta_log import State
from jobs.storage.paths import Place

FOLDER = "written"
_NAME = re.compile(r"(\w+)\.(\d+)\.(\d+)\.([0-9a-f]{16})")
_ACCEPTED = re.compile(r"(\w+)\.accepted\.(\d+)")


class Written(NamedTuple):
    """A version of a table, its number of rows, and the hash of its list of files (16 hex digits)."""

    version: int
    n_rows: int
    files_hash: str

    @classmethod
    def of(cls, state: State) -> Written:
        """Return what is recorded of a state."""
        return cls(state.version, state.n_rows, f"{state.files_hash:016x}")

    def differs_from(self, state: State) -> bool:
        """Return whether a table in this state has lost what is recorded here, or part of it."""
        return state.version < self.version or (state.version == self.version and Written.of(state) != self)


class WrittenVersions:
    """The record of the workspace at `root`, as it was when it was first requested, and with what was added since."""

    def __init__(self, root: Place) -> None:
        self._root = root
        self._folder = root / FOLDER
        self._known: dict[str, list[Written]] | None = None
        self.accepted_ns: dict[str, int] = {}
        """When the loss of a table was last accepted (ns since 1970), by the names of tables."""

    def load(self) -> Mapping[str, list[Written]]:
        """Return what is recorded of each table, the highest version last; reads the record once."""
        if self._known is None:
            self._known = {}
            for name in self._folder.names():
                if found := _NAME.fullmatch(name):
                    one = Written(int(found[2]), int(found[3]), found[4])
                    self._known.setdefault(found[1], []).append(one)
                elif found := _ACCEPTED.fullmatch(name):
                    self.accepted_ns[found[1]] = max(int(found[2]), self.accepted_ns.get(found[1], 0))
            for versions in self._known.values():
                versions.sort()
        return self._known

    def newest(self) -> dict[str, Written]:
        """Return the highest recorded version of each table."""
        return {table: versions[-1] for table, versions in self.load().items()}

    def of(self, table: str) -> Written | None:
        """Return the highest recorded version of a table; None where nothing is recorded of it."""
        versions = self.load().get(table)
        return versions[-1] if versions else None

    def is_accepted(self, table: str, recorded_ns: int) -> bool:
        """Return whether the loss of what a table was at a time (ns since 1970) was accepted since."""
        self.load()
        return self.accepted_ns.get(table, -1) >= recorded_ns

    def add(self, table: str, state: State) -> None:
        """Record a version that was committed. A record that cannot be written lags behind, which harms nothing."""
        fresh = Written.of(state)
        versions = [*self.load().get(table, ())]
        if versions and versions[-1].version >= fresh.version:
            return
        with suppress(OSError):
            self._folder.make_folder_within(self._root)
            self._file(table, fresh).touch()
            assert self._known is not None
            self._known[table] = [fresh]
            for lower in versions:
                self._file(table, lower).delete()

    def accept_loss(self, table: str, recorded_ns: int = 0) -> None:
        """Have what was recorded of a table not count any more. Raises `OSError`.

        `recorded_ns` is when the last record that must not count was written (ns since 1970), which is in the future
        where the clock was set back.
        """
        known = self.load().get(table, ())
        now_ns = max(time.time_ns(), recorded_ns)
        self._folder.make_folder_within(self._root)
        # First of all: until the names below are deleted, the loss counts as such, and can be accepted once more.
        (self._folder / f"{table}.accepted.{now_ns}").touch()
        self.accepted_ns[table] = now_ns
        for before in known:
            self._file(table, before).delete()
        assert self._known is not None
        self._known.pop(table, None)

    def _file(self, table: str, written: Written) -> Place:
        return self._folder / f"{table}.{written.version}.{written.n_rows}.{written.files_hash}"
