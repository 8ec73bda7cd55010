"""The rows of one frame in tables and views."""

from __future__ import annotations

import polars as pl

import schemas
from jobs.views import annotations_view, final_objects, imported_labels
from jobs.web.project_data import Shown


class FrameRows:
    """The rows of one frame in tables and views, by name as `View.lazy` has them; far less is read than for all."""

    def __init__(self, shown: Shown, row: int) -> None:
        self._shown = shown
        self._row = row
        self._known: dict[str, pl.LazyFrame] = {}

    def lazy(self, name: str) -> pl.LazyFrame:
        """Return the frame's rows of a table or view."""
        if name not in self._known:
            self._known[name] = self._lazy(name)
        return self._known[name]

    def _lazy(self, name: str) -> pl.LazyFrame:
        if name in final_objects.VIEWS:
            return final_objects.VIEWS[name](self.lazy)
        if name == schemas.PROJECT_SETTINGS.name:
            return self._shown.view.lazy(name)
        if name == annotations_view.NAME:
            keys = self._shown.view.selection.keys
            imported = imported_labels.objects(self.lazy)
            return annotations_view.all_annotations(self._stored, keys, imported)
        table, _, stage = name.partition(":")
        return self._stored(schemas.BY_NAME[table], stage)

    def _stored(self, table: schemas.Table, stage: str = "") -> pl.LazyFrame:
        return pl.LazyFrame(pl.DataFrame(self._shown.frames.stored_rows(table, self._row, stage)))
