"""Figures of people who review: how much, how long, and how often the next one agreed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from sqlalchemy import Connection, select

from jobs.editing.tables import EVENTS

_BY_OP = {"add": "objects_added", "set": "objects_changed", "delete": "objects_deleted"}


@dataclass
class _Work:
    frames: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    ms: dict[int, int] = field(default_factory=lambda: defaultdict(int))


def people_of(connection: Connection, project: str, since_ns: int, name: str | None = None) -> list[dict[str, Any]]:
    """Return the figures of each person since a time in ns, or those of one, by name.

    `submitted` counts submissions; `returned` and `approved` what a reviewer, also of their own, decided on the last
    submission of a frame; `agreement` is the share that was approved, None where nothing was decided. `median_s`: the
    median over frames of the seconds that the pages report.
    """
    mine = (EVENTS.c.project == project) & (EVENTS.c.at_ns >= since_ns) & (EVENTS.c.kind != "seed")
    columns = (EVENTS.c.frame_id, EVENTS.c.kind, EVENTS.c.state, EVENTS.c.ops, EVENTS.c.user_name, EVENTS.c.active_ms)
    work: dict[str, _Work] = defaultdict(_Work)
    submitter: dict[int, str] = {}
    for row in connection.execute(select(*columns).where(mine).order_by(EVENTS.c.seq)):
        by = work[row.user_name]
        by.frames.add(row.frame_id)
        if row.active_ms is not None:
            by.ms[row.frame_id] += row.active_ms
        by.counts.update(_BY_OP[op["op"]] for op in json.loads(row.ops) if op["op"] in _BY_OP)
        if row.kind == "submit":
            by.counts["submitted"] += 1
            submitter[row.frame_id] = row.user_name
        decided = "approved" if row.state == "approved" and row.kind in {"submit", "approve"} else None
        decided = "returned" if row.kind == "return" else decided
        if decided and row.frame_id in submitter:
            work[submitter[row.frame_id]].counts[decided] += 1
    return [_figures(who, done) for who, done in sorted(work.items()) if name is None or who == name]


def _figures(who: str, work: _Work) -> dict[str, Any]:
    names = (*_BY_OP.values(), "submitted", "returned", "approved")
    counts: Mapping[str, int] = {name: work.counts[name] for name in names}
    decided = counts["approved"] + counts["returned"]
    return {
        "user": who,
        "frames": len(work.frames),
        **counts,
        "median_s": round(median(work.ms.values()) / 1000, 3) if work.ms else None,
        "agreement": round(counts["approved"] / decided, 4) if decided else None,
    }
