"""Reading the tables of a workspace: Polars lazy frames for programs, read-only SQL for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

import schemas
from jobs.core.errors import BrokenTableError, UserError
from jobs.core.os_errors import damage_in
from jobs.records.journal import events, journaled_jobs
from jobs.storage.paths import Place
from jobs.storage.store import Snapshot, Store, without_rows
from jobs.storage.workspace import Workspace
from jobs.views import (
    annotations_view,
    curated_view,
    final_objects,
    imported_labels,
    overridden_verdicts,
    relations,
    result,
    snapshot_spec,
)
from jobs.views.missing_files import is_of_missing_file, said_of_missing
from jobs.views.relations import Limits, Relations
from jobs.views.row_filter_sql import SELECTED_KEYS, RowFilter
from jobs.views.snapshot_spec import Selection
from jobs.views.statement import NamesRead, checked_names
from transforms.io import object_store

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow.dataset as pads

BATCH = 1 << 16
"""Rows of a result that are in memory together, where it is read in pieces."""

_DETECTED = "annotations_found"
"""What detectors alone found: the selected rows of the stored table `annotations`."""
_VIEWS = frozenset({annotations_view.NAME, curated_view.NAME, *final_objects.VIEWS})
_UNPINNED = frozenset({"runs", "stage_runs", "releases", "models", "splits"})
_NO_TABLE = re.compile(r"Table with name (\S*[/.]\S*) does not exist")


class View:
    """The tables of a workspace, read-only, with the rows that a selection shows.

    Every table of `schemas` can be read by its name: of a table that a stage writes, these are the rows that the
    selected run of that stage has written for each stream. In addition there are

    - `NAME_all`: all rows of a table, of every configuration that was ever run;
    - `curated`: one row per frame with the columns of every per-frame table;
    - `annotations`: detections with their masks and tracks, propagated objects, texts and imported labels;
    - `curation`: the verdicts with the last word of people who kept or dropped frames by hand;
    - `objects`: annotations as vision language models and reviewers corrected them, which exports and scores read;
      `objects_by_models` is the same without reviews, `reviewed_frames` has the frames that a person has reviewed;
    - `journal`: the events of all runs;
    - `NAME:STAGE` (for `lazy` alone): rows that another stage has written into a table, as in `annotations:larger`.

    >>> from jobs.storage.workspace import Workspace
    >>> view = View.of(Workspace.at("recordings.tables"))                                   # doctest: +SKIP
    >>> view.sql("SELECT stream_id, count(*) AS n FROM curated WHERE keep GROUP BY 1").to_pylist()  # doctest: +SKIP
    [{'stream_id': 'cam1', 'n': 812}]
    >>> view.lazy("curated").filter("keep").select("uri", "sharpness").collect()            # doctest: +SKIP
    """

    def __init__(self, store: Store, selection: Selection, name: str = "this view") -> None:
        """Make the view of a selection; `name` is what errors call it, as in `run 20261130-01`."""
        self.selection = selection
        self._name = name
        pinned = selection.versions is not None
        self._store = Store(store.root, selection.versions, selection.given_up) if pinned else store
        # What ran is never pinned: a run is read at its own versions, but it is listed as it is known now.
        self._unpinned = store
        self._filter = RowFilter(selection)
        self._frames: pl.DataFrame | None = None

    @classmethod
    def of(cls, workspace: Workspace, run: str | None = None, release: str | None = None) -> View:
        """Return the view of what a workspace shows now, or of what a run or a release recorded.

        `run` is a job id, the beginning of one, or `last`. Raises `UserError` for a workspace, run or release that is
        not there, for a run that did not finish, and where both are given.

        >>> before, now = View.of(workspace, release="2026-11"), View.of(workspace)             # doctest: +SKIP
        """
        store = Store(workspace.require().root)
        return cls(
            store,
            snapshot_spec.choose(store, run, release),
            f"run {run}" if run else f"release {release}" if release else "this view",
        )

    def of_frames(self, frames: pl.DataFrame) -> View:
        """Return the view of some frames alone, for what is about each frame by itself.

        `frames` has the columns `stream_id` and `frame_idx`. In `lazy`, and in views such as `curated`, no rows are
        of other frames; in `sql` there still are where it names a stored table that is by frame. Reading a few frames
        among many takes the memory of these few.
        """
        found = View(self._unpinned, self.selection, self._name)
        found._frames = frames.select(schemas.FRAME_KEY).unique()
        return found

    def lazy(self, name: str) -> pl.LazyFrame:
        """Return a table or view by its name, as the class describes them, in no order.

        When it is collected, columns and files that are not needed are skipped. Raises `UserError` for an unknown name,
        and `BrokenTableError` where a table that should have rows is missing.

        >>> dark = pl.col("reasons").list.contains("dark")                                      # doctest: +SKIP
        >>> view.lazy("curation").filter(dark).select("stream_id", "frame_idx").collect()       # doctest: +SKIP
        """
        import polars as pl

        if name == schemas.JOURNAL.name:
            return pl.LazyFrame(journal_rows(self._unpinned.root))
        if name == curated_view.NAME:
            return curated_view.curated(self.lazy)
        if name in final_objects.VIEWS:
            return final_objects.VIEWS[name](self.lazy)
        table, stage, is_all = _parts(name)
        if table is None:
            views = (schemas.JOURNAL.name, *final_objects.VIEWS, curated_view.NAME)
            known = ", ".join([*schemas.BY_NAME, *views])
            raise UserError(
                f"there is no table {name.partition(':')[0]!r}; there are: {known}, and each with _all appended"
            )
        if is_all or not table.has_stage_key:
            return self._read(table)
        if name == annotations_view.NAME:
            imported = imported_labels.objects(self.lazy)
            return annotations_view.all_annotations(self._selected, self.selection.keys, imported)
        return self._selected(table, stage)

    def _selected(self, table: schemas.Table, stage: str = "") -> pl.LazyFrame:
        """Return the selected rows of a stored table: of the stage that usually writes it, or of another one."""
        import polars as pl

        # A join on keys, where SQL has the SELECT of `RowFilter`: lazy readers took 3 to 13 times the CPU through SQL.
        # Which frames a rule chooses is defined there alone.
        keys = self.selection.keys.get(stage or table.written_by, {})
        selected = pl.LazyFrame(
            {"stream_id": list(keys), "stage_key": list(keys.values())},
            schema={"stream_id": pl.String, "stage_key": pl.String},
        )
        rows = self._read(table).filter(pl.col("stage_key").is_in(sorted(set(keys.values()))))
        rows = rows.join(selected, on=("stream_id", "stage_key"), how="semi")
        if table is schemas.CURATION and not stage and self._is_overridden:
            frames = self._selected(schemas.FRAMES)
            overrides = overridden_verdicts.valid(self._open(schemas.OVERRIDES).lazy(), frames)
            rows = overridden_verdicts.applied(rows, overrides)
        if stage or not self._filter.has_rules(table):
            return rows
        name = _DETECTED if table.name == annotations_view.NAME else table.name
        frames = pl.LazyFrame(self.sql(f"SELECT DISTINCT stream_id, frame_idx FROM {name}"))
        return rows.join(frames, on=schemas.FRAME_KEY, how="semi")

    def _read(self, table: schemas.Table) -> pl.LazyFrame:
        """Return the rows of a stored table, of the frames of the view where it is one of some frames."""
        import polars as pl

        opened = self._open(table)
        if self._frames is None or opened.version < 0 or not set(schemas.FRAME_KEY) <= set(table.arrow_schema.names):
            return opened.lazy()
        names = (self._frames[name].unique().to_arrow() for name in schemas.FRAME_KEY)
        rows = pl.scan_pyarrow_dataset(opened.of_frames(*names))
        return rows.join(self._frames.lazy(), on=schemas.FRAME_KEY, how="semi")

    @property
    def _is_overridden(self) -> bool:
        """Return whether somebody has kept or dropped frames by hand."""
        return self._open(schemas.OVERRIDES).n_rows > 0

    def verify_files(self) -> None:
        """Hash all files that were read, which takes reading them whole.

        Raises `BrokenTableError` for one that is not what was written.
        """
        self._store.verify_opened({key for keys in self.selection.keys.values() for key in keys.values()})

    def newest(self, name: str) -> pl.LazyFrame:
        """Return all rows of a table as it is now, not at the versions that the view shows."""
        return self._unpinned.open(schemas.BY_NAME[name]).lazy()

    def sql(self, query: str, limits: Limits | None = None) -> pa.Table:
        """Run one SELECT over the tables and views and return its result.

        Columns of one name are numbered (`n`, `n_2`), and 128-bit sums are int64 where they fit. Raises `UserError` for
        anything but one SELECT over these tables, or one that exceeds `limits`, and `BrokenTableError` where one that
        it names is missing.

        >>> view.sql("SELECT unnest(reasons) AS reason, count(*) AS n FROM curation GROUP BY 1")  # doctest: +SKIP
        """
        with self._connection(query, limits) as connection:
            return result.presentable(connection.sql(query).to_arrow_table())

    def sql_on(self, data: Mapping[str, pa.Table], query: str, limits: Limits | None = None) -> pa.Table:
        """Run one SELECT over these tables alone, in place of those of the view; otherwise as `sql` does.

        >>> view.sql_on({"pairs": pa.table({"a": [1, 2]})}, "SELECT a FROM pairs WHERE a > 1")  # doctest: +SKIP
        """
        with relations.connect(limits) as connection, self._user_errors(limits):
            checked_names(connection, query)
            Relations(dict(data)).register(connection)
            return result.presentable(connection.sql(query).to_arrow_table())

    @contextmanager
    def stream(self, query: str, size: int = BATCH) -> Iterator[Iterator[pa.Table]]:
        """Run one SELECT and give its result in tables of `size` rows (the last one of fewer), at least one.

        They are computed as they are requested, so that a result may be larger than memory. Raises as `sql` does, and
        for a sum that is too large for the type that those before it had.

        >>> with view.stream("SELECT * FROM frames") as pieces:                                 # doctest: +SKIP
        ...     for rows in pieces:
        ...         print(rows.num_rows)
        """
        with self._connection(query) as connection:
            yield result.in_pieces(connection.sql(query).to_arrow_reader(size), size)

    @contextmanager
    def _connection(self, query: str, limits: Limits | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection that can do nothing but answer a query; what goes wrong there is a `UserError`."""
        with relations.connect(limits) as connection:
            with self._user_errors(limits):
                names = checked_names(connection, query)
            known = self._relations_of(names)
            with self._user_errors(limits):
                known.register(connection)
                yield connection

    @contextmanager
    def _user_errors(self, limits: Limits | None = None) -> Iterator[None]:
        """Raise what DuckDB, and readers of files under it, complain of as errors that users understand."""
        import duckdb

        try:
            yield
        except (duckdb.InterruptException, duckdb.OutOfMemoryException) as error:
            if limits is None:
                raise UserError(f"SQL: {_complaint(error)}") from error
            most = f"{limits.seconds:g} s" if isinstance(error, duckdb.InterruptException) else _mb(limits)
            raise UserError(f"SQL: it took more than {most}, the most for a query here; narrow it") from error
        except duckdb.PermissionException as error:
            raise UserError("SQL: only the workspace's tables can be read, no files") from error
        except (OSError, duckdb.Error) as error:
            if damage := damage_in(error):
                raise BrokenTableError(damage) from error
            if is_of_missing_file(error):
                raise UserError(said_of_missing(self._unpinned, self.selection, self._name)) from error
            if isinstance(error, OSError):
                raise
            if self._store.root.is_remote and "S3 error" in str(error):
                raise object_store.as_os_error(error, str(self._store.root)) from error
            raise UserError(f"SQL: {_complaint(error)}") from error

    def _relations_of(self, read: NamesRead) -> Relations:
        """Return the relations of a statement that reads some tables and columns; only these tables are opened.

        With a name that is unknown come all others without any rows: it may be a list of tables, or DuckDB says which
        ones have a similar name. All tables are opened where it is not known which it reads.
        """
        found, names = Relations(), read.tables
        if names is not None and curated_view.NAME in names:
            found.data[curated_view.NAME] = curated_view.curated(self.lazy, read.columns)
        for name in sorted(_all_names() if names is None else names):
            self._add(found, name, opens=True)
        if any(curated_view.NAME in relations.words_of(statement) for statement in found.views.values()):
            found.data[curated_view.NAME] = curated_view.curated(self.lazy)
        if names is not None and not names <= {*found.data, *found.views}:
            for name in sorted(_all_names()):
                self._add(found, name, opens=False)
        return found

    def _add(self, found: Relations, name: str, opens: bool, above: frozenset[str] = frozenset()) -> None:
        """Add a relation after those that it reads, unless it is there, or unknown."""
        if name in found.data or name in found.views or name in above:
            return
        statement = self._statement(name, opens)
        if statement is None:
            if (rows := self._rows(name, opens)) is not None:
                found.data[name] = rows
            return
        for word in sorted(relations.words_of(statement)):
            self._add(found, word, opens, above | {name})
        found.views[name] = statement

    def _statement(self, name: str, opens: bool) -> str | None:
        """Return the SELECT of the selected rows of a stored table, or None for a relation of any other kind."""
        if name == _DETECTED:
            return self._filter.statement(schemas.ANNOTATIONS)
        table, stage, is_all = _parts(name)
        if table is None or stage or name == annotations_view.NAME or is_all == table.has_stage_key:
            return None
        if name == schemas.CURATION.name and opens and self._is_overridden:
            return None
        return f"SELECT * FROM {table.name}" if is_all else self._filter.statement(table)

    def _rows(self, name: str, opens: bool) -> pa.Table | pads.Dataset | pl.LazyFrame | None:
        """Return the rows of a relation that no SELECT defines, or none of them; None for an unknown name."""
        if name in _VIEWS or name == schemas.CURATION.name:
            return self.lazy(name) if opens else _without_rows(name)
        if name == SELECTED_KEYS:
            return self._filter.selected_keys()
        if name == schemas.JOURNAL.name:
            return journal_rows(self._unpinned.root) if opens else schemas.JOURNAL.empty()
        table, stage, _ = _parts(name)
        if table is None or stage:
            return None
        return self._open(table).dataset() if opens else table.empty()

    def _open(self, table: schemas.Table) -> Snapshot:
        """Return a table. Raises `BrokenTableError` for a missing one of which heads show rows."""
        opened = (self._unpinned if table.name in _UNPINNED else self._store).open(table)
        shown = self.selection.versions is None and self.selection.keys.get(table.written_by)
        if opened.version < 0 and shown and (lost := snapshot_spec.gone(self._store, table.written_by)):
            raise BrokenTableError(f"{lost}; `winnow doctor` says what helps")
        return opened


def journal_rows(root: Place) -> pa.Table:
    """Return the journals of all jobs of the workspace at `root` as one table of `schemas.JOURNAL`."""
    schema = schemas.JOURNAL.arrow_schema
    rows = [
        {name: event.get(name) for name in schema.names}
        | {"data": json.dumps(event["data"]) if "data" in event else None}
        for job_id in journaled_jobs(root)
        for event in events(root, job_id)
    ]
    return pa.Table.from_pylist(rows, schema)


def _parts(name: str) -> tuple[schemas.Table | None, str, bool]:
    """Return the table of a name, the stage after a colon in it, and whether it ends in `_all`."""
    plain, _, stage = name.partition(":")
    return schemas.BY_NAME.get(plain.removesuffix("_all")), stage, plain.endswith("_all")


def _without_rows(name: str) -> pl.LazyFrame:
    """Return a table or view without opening any table."""
    if name == curated_view.NAME:
        return curated_view.curated(_without_rows)
    if name in final_objects.VIEWS:
        return final_objects.VIEWS[name](_without_rows)
    table, _, _ = _parts(name)
    assert table is not None, name
    return without_rows(table)


def _all_names() -> list[str]:
    tables = [name for table in schemas.ALL for name in (table.name, f"{table.name}_all")]
    return [*tables, *sorted(_VIEWS), _DETECTED, SELECTED_KEYS, schemas.JOURNAL.name]


def _mb(limits: Limits) -> str:
    return f"{limits.memory_bytes // 1_000_000:,} MB of memory"


def _complaint(error: duckdb.Error) -> str:
    if file := _NO_TABLE.search(str(error)):
        return f"{file[1]} is no table, and files are not read; only the workspace's tables can be read"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])
