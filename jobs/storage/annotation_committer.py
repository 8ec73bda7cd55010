"""Commits objects on frames before it commits that the frames were annotated."""

from __future__ import annotations

import pyarrow as pa

import schemas
from jobs.storage.committer import Committer
from jobs.storage.data_files import Part
from jobs.storage.store import Change, Drop, Snapshot


class ObjectCommitter(Committer):
    """Collects parts of a table of objects and of the table with their number per frame, and commits the objects first.

    A frame is done when its row is there. Its objects replace those that the table holds for it: a run that was cut
    short between the two commits left objects of frames that are not recorded as done, and a frame that now shows
    another image may have no objects.
    """

    _objects: tuple[Part, ...] = ()

    @property
    def _frames(self) -> str:
        return next(name for name in self._stages if name in schemas.ROWS_OF_FRAMES)

    def add(self, part: Part, may_replace: bool) -> None:
        """Add a part."""
        if part.table == schemas.ROWS_OF_FRAMES[self._frames].name:
            self._objects = (*self._objects, part)
        else:
            super().add(part, may_replace)

    def flush(self) -> None:
        """Commit everything that was added: objects, then frames."""
        pending = self._pending[self._frames]
        seen = [*pending.parts, *pending.replacing]
        if seen:
            self._replace(self._objects, self._keys(seen))
            self._objects = ()
        super().flush()

    def remove(self, table: str, keys: pa.Table) -> None:
        """Delete the rows of frames that are no longer there, their objects last."""
        super().remove(table, keys)
        self._replace((), keys)

    def _replace(self, parts: tuple[Part, ...], keys: pa.Table) -> None:
        key = self._stages[self._frames].key

        def change(_: Snapshot) -> Change:
            return Change(parts, [Drop(key, keys=keys)])

        self._store.transact(schemas.ROWS_OF_FRAMES[self._frames], change, self._job_id)
