"""Reading the tables: Polars lazy frames for programs, SQL that can do nothing but read for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

import schemas
from jobs.core.errors import BrokenTableError, UserError, one_line
from jobs.records.journal import events, journaled_jobs
from jobs.storage.paths import Place
from jobs.storage.store import Snapshot, Store
from jobs.storage.workspace import Workspace
from jobs.views import annotations_view, final_objects, snapshot_spec
from jobs.views.row_filter_sql import Shown
from jobs.views.snapshot_spec import Selection
from transforms.io import object_store

BATCH = 1 << 16
"""Rows of a result that are in memory together, where it is given piece by piece."""

_OPEN_PIVOT = "expected a PIVOT to name its values, as in PIVOT frames ON status IN ('ok', 'corrupt') USING count(*)"
_NO_TABLE = re.compile(r"Table with name (\S*[/.]\S*) does not exist")
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})
_JOINED = (
    schemas.QUALITY,
    schemas.FINGERPRINTS,
    schemas.MOTION,
    schemas.DUPLICATES,
    schemas.CURATION,
    schemas.ANNOTATED,
    schemas.PROPAGATED,
    schemas.OCR,
    schemas.CAPTIONS,
    schemas.ROUTING,
)
_FOUND = "annotations_found"
# What readers of disks and of buckets say of a file that is not there.
_NO_FILE = ("FileNotFoundError", "No such file", "Object at location")
# Nobody looks at bytes; `fingerprints` and `motion` have them.
_LEFT_OUT = frozenset({"stage_key", "input_id", "content_id", "layout", "tiles", "sketch", *schemas.FRAME_KEY})


class View:
    """The tables of a workspace as a selection shows them."""

    def __init__(self, store: Store, selection: Selection, name: str = "this view") -> None:
        self.selection = selection
        self._vacuumed = (
            f"{name} refers to files that `winnow tables vacuum` has deleted; releases and the last runs stay readable"
            if selection.versions is not None
            else "files of the tables are not there; `winnow doctor` names them and says what helps"
        )
        self._store = Store(store.root, selection.versions) if selection.versions is not None else store
        # What ran is never pinned: a run is read at its own versions, but it is listed as it is known now.
        self._unpinned = store
        self._shown = Shown(selection)

    @classmethod
    def of(cls, workspace: Workspace, run: str | None = None, release: str | None = None) -> View:
        """Return the view of a workspace that is current, or of a run, or of a release."""
        store = Store(workspace.require().root)
        return cls(
            store,
            snapshot_spec.choose(store, run, release),
            f"run {run}" if run else f"release {release}" if release else "this view",
        )

    def _store_of(self, table: schemas.Table) -> Store:
        return self._unpinned if table.name in {"runs", "stage_runs", "releases", "models"} else self._store

    def _open(self, table: schemas.Table) -> Snapshot:
        """Return a table. Raises `BrokenTableError` for one that is gone though heads show what was written to it."""
        opened = self._store_of(table).open(table)
        shown = self.selection.versions is None and self.selection.keys.get(table.written_by)
        if opened.version < 0 and shown and (lost := snapshot_spec.gone(self._store, table.written_by)):
            raise BrokenTableError(f"{lost}; `winnow doctor` says what helps")
        return opened

    def lazy(self, name: str) -> pl.LazyFrame:
        """Return a table's selected rows.

        `curated` joins all per-frame tables, `objects` is what stands of annotations, `NAME:STAGE` are the rows that
        another stage has written there. An unknown name raises `UserError`.
        """
        if name == "curated":
            return self._curated()
        if name == final_objects.NAME:
            return final_objects.standing(self.lazy)
        if name == schemas.JOURNAL.name:
            return pl.LazyFrame(journal_rows(self._unpinned.root))
        name, _, stage = name.partition(":")
        every = name.removesuffix("_all")
        if every not in schemas.BY_NAME:
            known = ", ".join([*schemas.BY_NAME, schemas.JOURNAL.name, final_objects.NAME, "curated"])
            raise UserError(f"there is no table {name!r}; there are: {known}, and each with _all appended")
        table = schemas.BY_NAME[every]
        if name.endswith("_all") or not table.has_stage_key:
            return self._open(table).lazy()
        if name == annotations_view.FOUND and not stage:
            return annotations_view.composed(self._chosen, self.selection.keys)
        return self._chosen(table, stage)

    def _chosen(self, table: schemas.Table, stage: str = "") -> pl.LazyFrame:
        """Return the rows that a stage, if not the usual one, wrote under the keys that are selected."""
        rows = self._open(table).lazy()
        keys = self.selection.keys.get(stage or table.written_by, {})
        chosen = pl.LazyFrame(
            {"stream_id": list(keys), "stage_key": list(keys.values())},
            schema={"stream_id": pl.String, "stage_key": pl.String},
        )
        wanted = rows.filter(pl.col("stage_key").is_in(sorted(set(keys.values()))))
        wanted = wanted.join(chosen, on=("stream_id", "stage_key"), how="semi")
        if stage or not self._shown.has_rules(table):
            return wanted
        name = _FOUND if table.name == annotations_view.FOUND else table.name
        frames = self.sql(f"SELECT DISTINCT stream_id, frame_idx FROM {name}")
        return wanted.join(pl.LazyFrame(frames), on=list(schemas.FRAME_KEY), how="semi")

    def newest(self, name: str) -> pl.LazyFrame:
        """Return all rows of a table as it is now, whatever versions the view shows."""
        return self._unpinned.open(schemas.BY_NAME[name]).lazy()

    def _curated(self) -> pl.LazyFrame:
        joined = self.lazy("frames").drop("stage_key", "input_id")
        for table in _JOINED:
            columns = [c.name for c in table.columns if c.name not in _LEFT_OUT]
            rows = self.lazy(table.name).select(*schemas.FRAME_KEY, *columns)
            joined = joined.join(rows, on=list(schemas.FRAME_KEY), how="left")
        return joined

    def sql(self, query: str) -> pa.Table:
        """Run one SELECT over the tables and return its result. Raises `UserError` for anything else."""
        with self._asked(query) as connection:
            return _presentable(connection.sql(query).to_arrow_table())

    @contextmanager
    def stream(self, query: str, size: int = BATCH) -> Iterator[Iterator[pa.Table]]:
        """Run one SELECT and give its result in tables of `size` rows (the last one of fewer), at least one.

        They are made while they are asked for, so that a result may be larger than memory. Raises as `sql` does, and
        for a sum that is too large for the type that those before it had.
        """
        with self._asked(query) as connection:
            reader = connection.sql(query).to_arrow_reader(size)
            yield _alike(_of_size(reader, size))

    @contextmanager
    def _asked(self, query: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a connection that can do nothing but answer a query; what goes wrong there is a `UserError`."""
        with duckdb.connect(":memory:", config={"python_enable_replacements": False}) as connection:
            self._register(connection)
            # Reading every line of every run is for those who ask for them.
            if schemas.JOURNAL.name in query.lower():
                connection.register(schemas.JOURNAL.name, journal_rows(self._unpinned.root))
            if re.search(rf"\b{final_objects.NAME}\b", query.lower()):
                connection.register(final_objects.NAME, self.lazy(final_objects.NAME).collect().to_arrow())
            try:
                _refuse_all_but_reading(connection, query)
                connection.execute("SET enable_external_access = false")
                connection.execute("SET lock_configuration = true")
                yield connection
            except duckdb.PermissionException as error:
                raise UserError("SQL: only the workspace's tables can be read, no files") from error
            except (FileNotFoundError, duckdb.IOException) as error:
                raise UserError(self._vacuumed) from error
            except duckdb.Error as error:
                if any(sign in str(error) for sign in _NO_FILE):
                    raise UserError(self._vacuumed) from error
                if self._store.root.is_remote and "S3 error" in str(error):
                    raise object_store.as_os_error(error, str(self._store.root)) from error
                raise UserError(f"SQL: {_complaint(error)}") from error

    def _register(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.register("selected_keys", self._shown.selected_keys())
        for table in schemas.ALL:
            rows = self._open(table).dataset()
            if table.has_stage_key:
                connection.register(f"{table.name}_all", rows)
                continue
            connection.register(table.name, rows)
            connection.execute(f"CREATE VIEW {table.name}_all AS SELECT * FROM {table.name}")
        # A view of what a rule chose reads those that have none.
        for table in sorted((t for t in schemas.ALL if t.has_stage_key), key=self._shown.has_rules):
            name = _FOUND if table.name == annotations_view.FOUND else table.name
            connection.execute(f"CREATE VIEW {name} AS {self._shown.rows(table)}")
        connection.execute(
            f"CREATE VIEW {annotations_view.FOUND} AS {annotations_view.statement(_FOUND, self.selection.keys)}"
        )
        columns = ["f.* EXCLUDE (stage_key, input_id)"]
        columns += [f"{t.name}.{c.name}" for t in _JOINED for c in t.columns if c.name not in _LEFT_OUT]
        joins = " ".join(f"LEFT JOIN {t.name} USING (stream_id, frame_idx)" for t in _JOINED)
        connection.execute(f"CREATE VIEW curated AS SELECT {', '.join(columns)} FROM frames f {joins}")


def journal_rows(root: Place) -> pa.Table:
    """Return the journals of all jobs of the workspace at `root` as one table."""
    schema = schemas.JOURNAL.arrow_schema
    rows = [
        {name: event.get(name) for name in schema.names}
        | {"data": json.dumps(event["data"]) if "data" in event else None}
        for job_id in journaled_jobs(root)
        for event in events(root, job_id)
    ]
    return pa.Table.from_pylist(rows, schema)


def _refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise UserError(f"SQL: expected one statement, found {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        if kind == "MULTI":
            raise UserError(f"SQL: {_OPEN_PIVOT}")
        raise UserError(f"SQL: only SELECT is allowed, found {kind}; tables are changed by runs alone")
    row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {}
    for name in _table_functions(tree):
        if name not in _TABLE_FUNCTIONS:
            raise UserError(f"SQL: the table function {name}() is not allowed; only the workspace's tables can be read")


def _of_size(reader: pa.RecordBatchReader, size: int) -> Iterator[pa.Table]:
    """Cut batches of any sizes into tables of one, so that what is written does not depend on who computed it."""
    held: list[pa.RecordBatch] = []
    n = 0
    for batch in _read(reader):
        rest = batch
        while n + rest.num_rows >= size:
            yield pa.Table.from_batches([*held, rest.slice(0, size - n)], reader.schema)
            rest, held, n = rest.slice(size - n), [], 0
        if rest.num_rows:
            held.append(rest)
            n += rest.num_rows
    yield pa.Table.from_batches(held, reader.schema)


def _read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield batches; what goes wrong while they are computed is DuckDB's error, whatever Arrow makes of it."""
    try:
        yield from reader
    except (pa.ArrowException, OSError) as error:
        raise duckdb.Error(str(error)) from error


def _alike(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Make every table presentable in the way of the first one."""
    schema = None
    for rows in tables:
        alike = _presentable(rows) if schema is None else rows.rename_columns(schema.names)
        schema = schema or alike.schema
        try:
            yield alike.cast(schema)
        except pa.ArrowInvalid as error:
            raise UserError(f"SQL: {one_line(error)}; name the type, as in CAST(sum(x) AS DOUBLE)") from error


def _presentable(rows: pa.Table) -> pa.Table:
    """Return a result with unlike column names, and 128-bit sums as plain integers where these hold them."""
    names: list[str] = []
    for name in rows.column_names:
        number = next(n for n in count(1) if (name if n == 1 else f"{name}_{n}") not in names)
        names.append(name if number == 1 else f"{name}_{number}")
    rows = rows.rename_columns(names)
    for at, column in enumerate(rows.schema):
        if pa.types.is_decimal(column.type) and column.type.scale == 0:
            with suppress(pa.ArrowInvalid):
                rows = rows.set_column(at, column.name, rows.column(at).cast(pa.int64()))
    return rows


def check_condition(condition: str) -> None:
    """Raise `UserError` unless a text is one SQL expression, which cannot get out of the brackets it is put into."""
    if not condition.strip():
        raise UserError("the condition is empty; expected SQL on the columns of `curated` (is a variable not set?)")
    with duckdb.connect(":memory:") as connection:
        row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {condition}"]).fetchone()
    tree = json.loads(row[0]) if row else {}
    nodes = [s["node"] for s in tree.get("statements", ())]
    plain = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and len(nodes[0]["select_list"]) == 1
    if tree.get("error") or not plain or nodes[0]["from_table"]["type"] != "EMPTY" or nodes[0]["where_clause"]:
        raise UserError(f"condition {condition!r}: expected one SQL expression on the columns of `curated`")


def _table_functions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            yield str(node["function"]["function_name"]).lower()
        for value in node.values():
            yield from _table_functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _table_functions(value)


def _complaint(error: duckdb.Error) -> str:
    if file := _NO_TABLE.search(str(error)):
        return f"{file[1]} is no table, and files are not read; only the workspace's tables can be read"
    return _first_lines(str(error))


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2])
