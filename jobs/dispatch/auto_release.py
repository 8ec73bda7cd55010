"""The release at the end of a scheduled run, and how it differs from the one before it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Any

import schemas
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.dispatch.follow_up import NOTHING, FollowUp
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.curation_counts import verdicts
from jobs.views.view import View


def publish(
    workspace: Workspace,
    job_id: str,
    name: str,
    siblings: Collection[str],
    follow_up: FollowUp = NOTHING,
) -> dict[str, Any]:
    """Make a release of what a run ended with, and return its name and how its frames differ from the last one's.

    `siblings` are the jobs of the same schedule, among whose releases the previous one is searched. Where the name is
    taken, -2 is appended, or the next free number. A run for which that was done gets no second one. `follow_up` is
    carried out on the release, and what it did returned with it.
    """
    store = Store(workspace.root)
    rows = store.read(schemas.RELEASES).sort_by("created_ns").to_pylist()
    # The note distinguishes them from releases of the same run that were made by hand.
    notes = {_note(sibling) for sibling in siblings if sibling != job_id}
    earlier = [row["name"] for row in rows if row["note"] in notes]
    mine = [row["name"] for row in rows if row["note"] == _note(job_id)]
    made = mine[0] if mine else _create(store, job_id, name)
    after = View.of(workspace, release=made)
    found = verdicts(after)
    totals: dict[str, Any] = {"frames": found.frames, "kept": found.kept, "dropped_for": found.reasons}
    totals |= follow_up.carry_out(workspace, made, earlier)
    if not earlier:
        return {"name": made, "before": None, **totals, "added": found.frames}
    before = View.of(workspace, release=earlier[-1])
    return {"name": made, "before": earlier[-1], **totals, **release.difference(before, after).values()}


def _create(store: Store, job_id: str, name: str) -> str:
    for number in count(1):
        numbered = name if number == 1 else f"{name}-{number}"
        taken = store.read(schemas.RELEASES, ("name",))["name"].to_pylist()
        if numbered in taken:
            continue
        try:
            release.create(store, numbered, run=job_id, note=_note(job_id))
        except UserError:
            if numbered in store.read(schemas.RELEASES, ("name",))["name"].to_pylist():
                # Another process was faster.
                continue
            raise
        return numbered
    raise AssertionError


def _note(job_id: str) -> str:
    return f"made at the end of job {job_id}"
