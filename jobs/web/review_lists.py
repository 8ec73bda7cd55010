"""Pages of the review queue, and leases of its next frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jobs.editing import leases
from jobs.editing.leases import Place
from jobs.web.frame_columns import Array
from jobs.web.frame_filters import FrameFilter
from jobs.web.plain import number
from jobs.web.project_data import Shown
from jobs.web.review_queue import STATES, Selected, basis_of, candidates, counts, doubts_of, listed
from jobs.web.reviews import Participant, Review, lease_of


def page(
    review: Review,
    wanted: FrameFilter,
    selected: Selected,
    snapshot: str | None,
    start: int,
    limit: int,
    person: Participant,
) -> dict[str, Any]:
    """Return a page of a list of the queue; `snapshot` names a list that was made before."""
    shown = review.shown()
    selected = replace(selected, mask=_mask(review, shown, wanted))
    with review.database.read() as connection:
        states = review.queue.states(shown, connection)
        taken = leases.active(connection, review.project)
    if snapshot is None:
        frames = listed(shown, states, selected, taken, person.user_id)
        snapshot = review.data.snapshots.add(frames)
    else:
        frames = review.data.snapshots.get(snapshot)
    by_place = {(lease.stream_id, lease.frame_idx): lease for lease in taken}
    found = []
    basis = basis_of(shown)
    by_models = shown.frames.objects.counts
    keys = shown.frames.keys
    named = [place for place in frames.page(start, limit) if keys.find(*place) is not None]
    rows = [int(keys.find(*place) or 0) for place in named]
    sizes = [shown.frames.column(name)[rows].tolist() for name in ("width", "height")]
    for place, row, h, width, height in zip(named, rows, shown.frames.hashes(rows), *sizes, strict=True):
        verdict = int(shown.frames.verdicts.bits[row])
        uncertainty = float(basis.waiting.uncertainty[row])
        lease = by_place.get(place)
        found.append(
            {
                "stream_id": place[0],
                "frame_idx": number(place[1]),
                "h": h,
                "width": _whole(width),
                "height": _whole(height),
                "state": STATES[states.state[row]],
                "uncertainty": None if math.isnan(uncertainty) else round(uncertainty, 4),
                "doubts": doubts_of(int(basis.doubts[row])),
                "keep": bool(verdict & 1) if verdict & 2 else None,
                "n_objects": states.objects.get(row, None if by_models[row] < 0 else int(by_models[row])),
                "revision": int(states.revision[row]),
                "submitted_by": states.submitted_by.get(row),
                "note": states.notes.get(row),
                "lease": None if lease is None else lease_of(lease, person),
            }
        )
    return {
        "snapshot": snapshot,
        "total": len(frames),
        "start": start,
        "tab": selected.tab,
        "counts": counts(shown, states, selected.mask, taken, person.user_id),
        "frames": found,
    }


def _mask(review: Review, shown: Shown, wanted: FrameFilter) -> Array | None:
    condition = review.settings(shown).settings["where"]
    masks = list(wanted.masks(shown).values())
    if condition:
        masks += list(FrameFilter(condition).masks(shown).values())
    found = None
    for mask in masks:
        found = mask if found is None else found & mask
    return found


def lease(
    review: Review, wanted: FrameFilter, selected: Selected, n: int, left_out: Sequence[Place], person: Participant
) -> dict[str, Any]:
    """FrameLease the next frames of the queue to somebody."""
    shown = review.shown()
    selected = replace(selected, mask=_mask(review, shown, wanted))
    length = leases.lease_ns(review.settings(shown).settings["lease_minutes"])
    who = (person.user_id, person.name)
    with review.database.read() as connection:
        states = review.queue.states(shown, connection)
        taken = leases.active(connection, review.project)
        late = leases.skipped(connection, review.project, person.user_id)
    free, left = candidates(shown, states, selected, taken, who, left_out, late)
    made = review.database.write(lambda c: leases.take(c, review.project, person.author, free, n, length))
    keys = shown.frames.keys
    rows = [int(keys.find(lease.stream_id, lease.frame_idx) or 0) for lease in made]
    sizes = [shown.frames.column(name)[rows].tolist() for name in ("width", "height")]
    found = [
        {
            **lease_of(lease, person),
            "stream_id": lease.stream_id,
            "frame_idx": number(lease.frame_idx),
            "h": h,
            "width": int(width),
            "height": int(height),
            "state": STATES[states.state[row]],
            "revision": int(states.revision[row]),
        }
        for lease, row, h, width, height in zip(made, rows, shown.frames.hashes(rows), *sizes, strict=True)
    ]
    return {"leases": found, "left": left}


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
