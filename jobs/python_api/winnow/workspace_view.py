"""A workspace as Python programs read it: tables as Polars frames, SQL, releases, selections and exports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

import schemas
from jobs.analysis import inspect_tables
from jobs.core.choices import Balance, CompareBy, ExportFormat, MediaMode, SplitBy
from jobs.core.errors import UserError, one_line
from jobs.datasets import release as releases
from jobs.datasets.export import ExportRequest
from jobs.datasets.export import export as write_export
from jobs.datasets.export_classes import ClassChoice
from jobs.datasets.frame_sampling import SelectRequest
from jobs.datasets.frame_sampling import select as write_selection
from jobs.datasets.splitting import length_of
from jobs.storage import paths
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.final_objects import NAME as OBJECTS
from jobs.views.snapshot_spec import find_run
from jobs.views.view import View
from transforms.curate.strategy import Strategy


def open(workspace: str | os.PathLike[str] | None = None) -> WorkspaceView:  # noqa: A001
    """Open a workspace that is there, to read its tables and to export from them.

    Args:
        workspace: Folder, or `s3://BUCKET/PREFIX`; None for `$WINNOW_WORKSPACE` or `.winnow`.

    Raises:
        UserError: If there is none, or what is there is none.

    >>> winnow.open(".winnow").table("streams").select("stream_id", "n_frames").collect().rows()
    [('frames', 122)]
    """
    return WorkspaceView(Workspace.at(workspace).require())


class WorkspaceView:
    """The tables of a workspace: current, or as a run or a release recorded them.

    The current state is read by every call, so that a view shows what runs have done since it was opened; a run or
    a release always shows the same rows.
    """

    def __init__(self, workspace: Workspace, run: str | None = None, release: str | None = None) -> None:
        self._workspace = workspace
        # A name like `last` refers to another run as soon as there is one.
        self._run = None if run is None else str(find_run(self._store, run)["job_id"])
        self._release = release
        # What a run or a release recorded does not change, so that it is looked up once.
        self._recorded = None if run is None and release is None else View.of(workspace, self._run, release)

    def __repr__(self) -> str:
        recorded = f", run={self._run!r}" if self._run else f", release={self._release!r}" if self._release else ""
        return f"WorkspaceView({self.uri!r}{recorded})"

    @property
    def uri(self) -> str:
        """The folder or `s3://` prefix of the workspace."""
        return str(self._workspace.root)

    @property
    def tables(self) -> list[str]:
        """Names that `table` takes and that queries read; `NAME_all` has the rows of every configuration."""
        return ["curated", OBJECTS, *schemas.BY_NAME, schemas.JOURNAL.name]

    @property
    def runs(self) -> pl.DataFrame:
        """All runs, oldest first: job_id, state, parent, profile, streams, frames, started, seconds, error.

        `started` is a time in UTC. `state` is that of this moment: a run whose process died has `failed`.

        >>> winnow.open().runs.select("state", "profile").tail(1).rows()
        [('done', 'quality')]
        """
        columns = ("job_id", "state", "parent", "profile", "streams", "frames", "started_ns", "seconds", "error")
        table = schemas.RUNS.arrow_schema
        rows = [{name: row[name] for name in columns} for row in inspect_tables.runs(self._store)]
        empty = pl.DataFrame(table.empty_table().select(list(columns)))
        return _with_time(pl.DataFrame(rows, empty.schema), "started_ns", "started")

    @property
    def releases(self) -> pl.DataFrame:
        """All releases, oldest first: name, created (UTC), job_id, note."""
        rows = pl.DataFrame(self._store.read(schemas.RELEASES)).sort("created_ns")
        return _with_time(rows.select("name", "created_ns", "job_id", "note"), "created_ns", "created")

    def run(self, job_id: str) -> WorkspaceView:
        """Return the tables as a finished run left them. Raises `UserError` for a run that is unknown or not done.

        `job_id` may be the beginning of an id, or `last`, or `last~1` for the one before.

        >>> winnow.open().run("last").table("curated").collect().height
        122
        """
        return WorkspaceView(self._workspace, run=job_id)

    def release(self, name: str) -> WorkspaceView:
        """Return the tables as a release froze them. Raises `UserError` if there is no release of that name."""
        return WorkspaceView(self._workspace, release=name)

    def create_release(self, name: str, *, note: str | None = None) -> WorkspaceView:
        """Freeze what this view shows under a new name, and return the view of that release.

        Raises `UserError` for a name that is taken or malformed, and where there is nothing to freeze.

        >>> frozen = winnow.open().create_release("night-v1", note="first set")
        >>> frozen.table("curated").filter("keep").collect().height
        65
        """
        if self._release is not None:
            raise UserError(
                f"release {self._release!r}: expected the current tables or those of a run, to make a release"
            )
        releases.create(self._store, name, self._run, note)
        return self.release(name)

    def table(self, name: str) -> pl.LazyFrame:
        """Return the rows of a table, which are read when they are collected.

        Args:
            name: One of `tables`: `curated` joins all per-frame tables, one row per frame; `objects` has the final
                objects, reviewed ones in place of those that models found. `NAME_all` has the rows of every
                configuration, `NAME:STAGE` those that another stage wrote there.

        Raises:
            UserError: For an unknown name.

        >>> frames = winnow.open().table("curated")
        >>> frames.group_by("keep").len().sort("keep").collect().rows()
        [(False, 57), (True, 65)]
        """
        return self._view.lazy(name)

    def sql(self, query: str) -> pl.DataFrame:
        """Run one SELECT, in DuckDB's dialect, over the tables and return its rows.

        It can read the tables and nothing else: no files, no other statements. `to_arrow()` of the result gives an
        Arrow table.

        Raises:
            UserError: For a query that is wrong or not allowed, and for a column of a type that Polars does not have.

        >>> winnow.open().sql("SELECT status, count(*) AS frames FROM frames GROUP BY ALL ORDER BY ALL").rows()
        [('corrupt', 2), ('ok', 120)]
        """
        rows = self._view.sql(query)
        try:
            return pl.DataFrame(rows)
        except pl.exceptions.ComputeError as error:
            types = ", ".join(f"{field.name} {field.type}" for field in rows.schema)
            raise UserError(
                f"SQL: Polars cannot hold the result, {types}; name a type, as in CAST(x AS TEXT)"
            ) from error

    def thumbnail(self, uri: str, long_side: int = 320) -> bytes:
        r"""Return a frame as a small JPEG, of a clip as well: `uri` is that of the table `frames`.

        Raises:
            UserError: For a frame that cannot be read or does not decode, or a side below 1 pixel.

        >>> workspace = winnow.open()
        >>> uri = workspace.sql("SELECT uri FROM frames WHERE status = 'ok' ORDER BY frame_idx LIMIT 1").item()
        >>> workspace.thumbnail(uri)[:3] == b"\xff\xd8\xff"
        True
        """
        # Decoders take a while to import.
        from transforms.frames.frame_image import thumbnail_of
        from transforms.frames.image import CorruptImageError

        if long_side < 1:
            raise UserError(f"long_side: expected 1 pixel or more, found {long_side}")
        try:
            return thumbnail_of(uri, long_side)
        except (OSError, CorruptImageError) as error:
            raise UserError(f"frame {uri} cannot be shown: {one_line(error)}") from error

    def select(
        self,
        name: str,
        *,
        n: int | None = None,
        fraction: float | None = None,
        strategy: Strategy = "diverse",
        balance: Sequence[Balance] = (),
        after: Sequence[str] = (),
        where: str | None = None,
        quality: float = 0.5,
        by: CompareBy | None = None,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Choose some of the kept frames, never two of one group of duplicates, and write table `selections`.

        Args:
            name: Name of the selection; one of that name is replaced.
            n: How many frames to choose; or else `fraction`.
            fraction: Share of the kept frames, 0 to 1.
            strategy: `uniform`, at equal distances; `stratified`, equal shares; `diverse`, as unlike as possible;
                `coverage`, so that every frame has a chosen one that looks like it.
            balance: What has equal shares: `stream`, `scene`, `hour`.
            after: Selections, releases and `RELEASE:SELECTION`s whose frames count as chosen already.
            where: SQL condition on `curated`.
            quality: How much less the softest frame of a stream is worth than its sharpest, 0 to 1.
            by: What frames are compared by, `layout` or `embedding`; None for embeddings where all frames have one.
            seed: Decides what chance decides, in `coverage`.

        Returns:
            The choice in numbers: chosen, asked, of, taken_before, frames by stream, and what it was made by.

        >>> winnow.open().select("pilot", n=5, strategy="uniform")["chosen"]
        5
        """
        request = SelectRequest(
            name=name,
            strategy=strategy,
            n=n,
            fraction=fraction,
            balance=tuple(balance),
            after=tuple(after),
            where=where,
            quality=quality,
            seed=seed,
            by=by,
            run=self._run,
            release=self._release,
        )
        return write_selection(self._workspace, request)

    def export(
        self,
        out: str | os.PathLike[str],
        format: ExportFormat = "coco",  # noqa: A002 - the field's word, also on the command line
        *,
        where: str | None = None,
        selection: str | None = None,
        everything: bool = False,
        split: Mapping[str, float] | None = None,
        split_by: SplitBy = "auto",
        block: str | None = None,
        guard: str | None = None,
        near_duplicates: bool = False,
        max_leak: float | None = None,
        strict: bool = False,
        seed: int = 0,
        media: MediaMode | None = None,
        min_score: float | None = None,
        only_reviewed: bool = False,
        classes: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
        class_order: Sequence[str] = (),
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Write the kept frames of this view as a dataset, whole or not at all, and return its manifest.

        Args:
            out: Folder, or `s3://BUCKET/PREFIX`; an earlier export there is replaced, anything else is not.
            format: `coco`, `yolo`, `yolo-segment`, `yolo-obb`, `voc`, `datumaro`, `webdataset`, `jsonl`, `parquet`.
            where: SQL condition on `curated`, or on `objects` of the frame, as in `objects.category = 'car'`.
            selection: Only frames of this selection; see `select`.
            everything: Also frames that are not kept; corrupt ones never.
            split: Names and fractions that add up to 1, as in `{"train": 0.8, "val": 0.2}`; None for one set.
            split_by: What stays together in one split: `time` (blocks of it), `track`, `scene`, `stream` or `group` (of
                duplicates); `auto` divides by time videos of few scenes, by scene those of many, by group images.
            block: Length of blocks of time, in frame numbers or as in `90s`; None for one that suits the stream.
            guard: Least distance of frames of different splits, likewise; frames that are nearer are left out.
            near_duplicates: Let near-duplicates be in several splits, but never frames of equal content.
            max_leak: Share of the frames of a split, 0 to 1, that may be next to a training frame, or share a track or
                a duplicate with one; None for any.
            strict: Refuse to split frames in which no stage has searched for duplicates.
            seed: Another one gives another split.
            media: What becomes of the images: `copy`, `link` or `none`; None for what the format usually has.
            min_score: Leave out objects with a lower score, 0 to 1; their frames stay.
            only_reviewed: Only frames that a person has reviewed.
            classes: Only objects of these classes, numbered in this order; their frames stay.
            renamed: Categories by the class as which they are exported, as in `{"truck": "car"}`.
            class_order: All classes, in the order of their numbers.
            overwrite: Replace a dataset of another release or workspace.

        Raises:
            UserError: With every problem of the request.
            RunFailedError: If an image is no longer the one that was measured.

        >>> winnow.open().export("night-v1", "yolo", split={"train": 0.8, "val": 0.2})["frames"]
        {'train': 49, 'val': 13}
        """
        request = ExportRequest(
            format=format,
            out=paths.absolute(out),
            run=self._run,
            release=self._release,
            where=where,
            selection=selection,
            everything=everything,
            split=split or {},
            split_by=split_by,
            block=length_of("block", block),
            guard=length_of("guard", guard),
            near_duplicates=near_duplicates,
            max_leak=max_leak,
            strict=strict,
            seed=seed,
            media=media,
            min_score=min_score,
            only_reviewed=only_reviewed,
            classes=ClassChoice(tuple(classes), renamed or {}, tuple(class_order)),
            overwrite=overwrite,
        )
        return write_export(self._workspace, request)

    @property
    def _store(self) -> Store:
        return Store(self._workspace.root)

    @property
    def _view(self) -> View:
        return self._recorded or View.of(self._workspace)


def _with_time(rows: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """Return rows with a time (UTC) in place of nanoseconds since 1970, under another name."""
    time = pl.from_epoch(column, "ns").dt.replace_time_zone("UTC").alias(name)
    return rows.select(time if each == column else each for each in rows.columns)
