"""Heads, the current version per stream and stage: the stage key and frames that the plain table names show."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pyarrow as pa

import schemas
from jobs.core.stage import Stage
from jobs.storage.store import Store


def move(store: Store, streams: Sequence[str], stages: Sequence[Stage], job_id: str) -> bool:
    """Make these stages' keys the current versions of these streams, in one transaction; return whether any changed."""
    now = time.time_ns()
    wanted = [
        {
            "stream_id": stream,
            "stage": stage.name,
            "stage_key": stage.key,
            "job_id": job_id,
            "moved_ns": now,
            "rule": stage.rule and stage.rule.sql,
        }
        for stream in streams
        for stage in stages
    ]
    shown = {(r["stream_id"], r["stage"]): (r["stage_key"], r["rule"]) for r in store.read(schemas.HEADS).to_pylist()}
    moved = [row for row in wanted if shown.get((row["stream_id"], row["stage"])) != (row["stage_key"], row["rule"])]
    if moved:
        rows = pa.Table.from_pylist(moved, schemas.HEADS.arrow_schema)
        store.upsert(schemas.HEADS, rows, job_id)
    return bool(moved)
