"""Quarantined frames: those that a fault kept from being computed, with the number of attempts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Drop, Snapshot, Store

_KEY = [*schemas.FRAME_KEY, "stage"]


def update_quarantine(
    store: Store,
    stages: Sequence[Stage],
    streams: Sequence[str],
    faults: Sequence[Mapping[str, Any]],
    job_id: str,
    still_open: Mapping[str, Callable[[], AbstractSet[tuple[str, int]]]] = MappingProxyType({}),
) -> dict[str, int]:
    """Write this run's faults, release the frames that have a row by now, and count what stays, per stage.

    `still_open` gives, for stages that are shown some frames only, those that they have still to process, as
    (stream, number): other frames are released as well, since no later run would process them.
    """
    names = frozenset(streams)
    live_stages = {s.name: s for s in stages if s.kind != "table"}
    held: list[dict[str, Any]] = []

    def change(snapshot: Snapshot) -> Change | None:
        old = snapshot.read(streams=names).to_pylist()
        attempts = {tuple(row[n] for n in _KEY): row["attempts"] for row in old}
        failed = {tuple(fault[n] for n in _KEY): fault for fault in faults}
        now = time.time_ns()
        fresh = [
            {**fault, "attempts": attempts.get(key, 0) + 1, "job_id": job_id, "failed_ns": now}
            for key, fault in failed.items()
        ]
        kept = [row for row in old if tuple(row[n] for n in _KEY) not in failed]
        kept = _wanted(kept, still_open)
        held[:] = [*_unresolved(store, kept, live_stages), *fresh]
        if not old and not held:
            return None
        rows = pa.Table.from_pylist(held, schemas.QUARANTINE.arrow_schema)
        parts = [write_part(store.root, schemas.QUARANTINE, rows)] if held else []
        return Change(parts, [Drop(streams=names)])

    store.transact(schemas.QUARANTINE, change, job_id)
    return dict(Counter(row["stage"] for row in held if row["stage"] in live_stages))


def _wanted(
    rows: list[dict[str, Any]], still_open: Mapping[str, Callable[[], AbstractSet[tuple[str, int]]]]
) -> list[dict[str, Any]]:
    """Leave out rows of stages that have the frame no more among those that they are shown."""
    frames = {name: still_open[name]() for name in {row["stage"] for row in rows} & still_open.keys()}
    return [
        row
        for row in rows
        if row["stage"] not in frames or (row["stream_id"], row["frame_idx"]) in frames[row["stage"]]
    ]


def _unresolved(store: Store, rows: list[dict[str, Any]], stages: Mapping[str, Stage]) -> list[dict[str, Any]]:
    """Leave out rows whose frame has a live row by now, or is not listed any more."""
    if not rows:
        return []
    asked = pl.DataFrame(rows).select(schemas.FRAME_KEY).unique()
    listed = _among(asked, store.open(schemas.LISTING), None)
    done: dict[str, set[tuple[str, int]]] = {}
    for name in {row["stage"] for row in rows}:
        if name in stages:
            done[name] = _among(asked, store.open(stages[name].table), stages[name].key)
    return [
        row
        for row in rows
        if (row["stream_id"], row["frame_idx"]) in listed
        and (row["stream_id"], row["frame_idx"]) not in done.get(row["stage"], set())
    ]


def _among(asked: pl.DataFrame, snapshot: Snapshot, stage_key: str | None) -> set[tuple[str, int]]:
    """Return those of a few frames that a table has a row of; of the others no more is held than two columns."""
    span = (int(asked["frame_idx"].min()), int(asked["frame_idx"].max()) + 1)  # type: ignore[arg-type]
    streams = frozenset(asked["stream_id"].to_list())
    rows = pl.DataFrame(snapshot.read(schemas.FRAME_KEY, stage_key, streams, span))
    return set(asked.join(rows, on=schemas.FRAME_KEY, how="semi").iter_rows())
