"""The review queue of a project in memory: its order, from the tables, and the states of frames, from the database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow.compute as pc

import schemas
from jobs.editing.frame_states import Connection, changed_since
from jobs.editing.leases import FrameLease, Place
from jobs.review.decisions import SEEN
from jobs.review.frames_apart import spread_of
from jobs.review.queue_order import Waiting, queue_order
from jobs.views import imported_labels
from jobs.web.frame_columns import NO_TIME, Array, FrameKeys, places
from jobs.web.frame_table import FrameTable
from jobs.web.project_data import Shown
from jobs.web.snapshots import FrameList
from transforms.assess.uncertainty import DOUBTS
from transforms.core.identity import hash_strings

Tab = Literal["open", "mine", "submitted", "returned", "approved", "all"]
Order = Literal["uncertainty", "stream", "random"]

STATES = ("open", "submitted", "returned", "approved")
_OPEN, _SUBMITTED, _RETURNED, _APPROVED = range(len(STATES))
_NS_PER_S = 1e9
_OF_ORDER = (schemas.FRAMES, schemas.CURATION, schemas.ROUTING, schemas.DUPLICATES, schemas.STREAMS)
_OF_FILES = (schemas.FRAMES, schemas.REVIEWS, schemas.IMPORTS)
# Odd, from the golden ratio: consecutive numbers end far apart (Knuth, The Art of Computer Programming, 6.4).
_MIXER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Basis:
    """What the order of a queue is made of, in order of the frames: arrays of shape (N,).

    `doubts` has a bit for each of `DOUBTS` that is above zero. `is_ok`: the frame has an image.
    """

    waiting: Waiting
    doubts: Array
    is_ok: Array
    spread: float


@dataclass(frozen=True)
class States:
    """The state of each frame as a number, its revision, and who submitted it, by row; shapes (N,)."""

    state: Array
    revision: Array
    submitted_by: dict[int, str]
    notes: dict[int, str]
    objects: dict[int, int]


class ReviewQueue:
    """The queue of one project; safe for threads."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._lock = RLock()
        self._keys: FrameKeys | None = None
        self._files: Any = None
        self._seq = 0
        self._states: States | None = None

    def states(self, shown: Shown, connection: Connection) -> States:
        """Return the states as they are committed now."""
        table = shown.frames
        with self._lock:
            files = tuple(table.files_of(each) for each in _OF_FILES)
            if self._states is None or self._keys is not table.keys or self._files != files:
                n = len(table.keys)
                state = np.zeros(n, np.uint8)
                by_files = self._reviewed(shown)
                state[by_files] = _APPROVED
                self._states = States(state, np.zeros(n, np.int32), {}, {}, {})
                self._keys, self._files, self._seq = table.keys, files, 0
            self._bring_up_to_date(table, self._states, connection)
            return self._states

    def _reviewed(self, shown: Shown) -> Array:
        """Return the rows of the frames that people have reviewed by files, or that have imported ground truth.

        As the view `reviewed_frames`, but without a pass over all frames.
        """
        table = shown.frames
        columns = [*schemas.FRAME_KEY, "content_hash"]
        seen = shown.view.lazy(schemas.REVIEWS.name).filter(decision=SEEN).select(columns)
        labelled = shown.view.lazy(schemas.IMPORTS.name)
        labelled = labelled.filter(kind=imported_labels.FRAME, role=imported_labels.GROUND_TRUTH).select(columns)
        known = pl.concat([seen, labelled]).collect()
        place = places(table.keys, known.select(schemas.FRAME_KEY).to_arrow())
        there = np.flatnonzero(place >= 0)
        now = table.hashes(place[there]) if len(there) else []
        same = [
            content[:16] == h for content, h in zip(known["content_hash"].gather(there).to_list(), now, strict=True)
        ]
        found: Array = place[there][np.array(same, np.bool_)]
        return found

    def _bring_up_to_date(self, table: FrameTable, states: States, connection: Connection) -> None:
        """Take in what was committed since the last call."""
        changed = changed_since(connection, self._project, self._seq)
        found = [(row, table.keys.find(row.stream_id, row.frame_idx)) for row in changed]
        there = [(row, at) for row, at in found if at is not None]
        hashes = table.hashes([at for _, at in there]) if there else []
        for (row, at), h in zip(there, hashes, strict=True):
            if not row.content_hash.startswith(h):
                continue
            states.state[at] = STATES.index(row.state)
            states.revision[at] = row.revision
            states.objects[at] = row.n_objects
            for known, value in ((states.submitted_by, row.submitted_by), (states.notes, row.note)):
                if value:
                    known[at] = value
                else:
                    known.pop(at, None)
        if changed:
            self._seq = changed[-1].last_seq


def order_of(shown: Shown, order: Order) -> Array:
    """Return all frames with an image in the order of a queue, int64, in any state."""
    made = {
        "stream": lambda: np.flatnonzero(basis_of(shown).is_ok),
        "random": lambda: _at_random(basis_of(shown).is_ok),
        "uncertainty": lambda: _by_uncertainty(basis_of(shown)),
    }
    return shown.frames.held(f"review order {order}", _OF_ORDER, made[order])


def _at_random(is_ok: Array) -> Array:
    rows = np.flatnonzero(is_ok)
    return rows[np.argsort(rows.astype(np.uint64) * _MIXER, kind="stable")]


def _by_uncertainty(basis: Basis) -> Array:
    return queue_order(basis.waiting, ~basis.is_ok, basis.spread)


def basis_of(shown: Shown) -> Basis:
    """Return what the order of the queue is made of."""
    return shown.frames.held("review basis", _OF_ORDER, lambda: _basis(shown))


def _basis(shown: Shown) -> Basis:
    table, keys = shown.frames, shown.frames.keys
    n = len(keys)
    routing = table.values(schemas.ROUTING, ("uncertainty", *DOUBTS))
    uncertainty = routing["uncertainty"].to_numpy().astype(np.float32)
    doubts = np.zeros(n, np.uint8)
    for bit, name in enumerate(DOUBTS):
        doubts |= (routing[name].to_numpy() > 0).astype(np.uint8) << bit
    names = table.values(schemas.DUPLICATES, ("group_id",))["group_id"]
    # Numbers from 0 on; a hash takes far less time than a rank.
    group = hash_strings(pc.fill_null(names, "")).view(np.int64) & np.iinfo(np.int64).max
    group[names.is_null().to_numpy()] = -1
    stream = np.repeat(np.arange(len(keys.streams)), np.diff(keys.starts))
    steps = dict(shown.view.lazy("streams").select("stream_id", "step").collect().iter_rows())
    step = np.array([steps.get(name) or 1 for name in keys.streams], np.float64)
    time = table.column("time")
    second = np.where(time == NO_TIME, keys.numbers / step[stream] if n else 0.0, time / _NS_PER_S)
    chance = (keys.numbers.astype(np.uint64) * _MIXER + stream.astype(np.uint64)).view(np.int64)
    has_verdicts = bool(table.verdicts.bits.any())
    keep = table.verdicts.kept if has_verdicts else np.ones(n, np.bool_)
    is_ok = ~np.isnan(table.column("width"))
    waiting = Waiting(uncertainty, keep, chance, stream, second, group)
    return Basis(waiting, doubts, is_ok, spread_of(shown.view))


@dataclass(frozen=True)
class Selected:
    """What somebody wants of a queue: a tab, an order, and the frames that fulfil their filters (None: all)."""

    tab: Tab
    order: Order
    mask: Array | None


def listed(shown: Shown, states: States, selected: Selected, leases: Sequence[FrameLease], user_id: str) -> FrameList:
    """Return the frames of a tab in their order."""
    rows = order_of(shown, selected.order)
    chosen = rows[_in_tab(shown, states, selected, leases, user_id)[rows]]
    return FrameList(shown.frames.keys, chosen.astype(np.uint32))


def _in_tab(shown: Shown, states: States, selected: Selected, leases: Sequence[FrameLease], user_id: str) -> Array:
    found: Array
    if selected.tab == "all":
        found = np.ones(len(states.state), np.bool_)
    elif selected.tab == "mine":
        found = np.zeros(len(states.state), np.bool_)
        for lease in leases:
            row = shown.frames.keys.find(lease.stream_id, lease.frame_idx)
            if row is not None and lease.user_id == user_id:
                found[row] = True
    elif selected.tab == "open":
        found = (states.state == _OPEN) | (states.state == _RETURNED)
    else:
        found = states.state == STATES.index(selected.tab)
    return found if selected.mask is None else found & selected.mask


def counts(
    shown: Shown, states: States, mask: Array | None, leases: Sequence[FrameLease], user_id: str
) -> dict[str, int]:
    """Return how many frames are in each tab."""
    is_ok = basis_of(shown).is_ok
    chosen = states.state[is_ok if mask is None else is_ok & mask]
    per_state = np.bincount(chosen, minlength=len(STATES)).tolist()
    found = {name: int(per_state[at]) for at, name in enumerate(STATES)}
    found["open"] += found["returned"]
    return {**found, "mine": sum(lease.user_id == user_id for lease in leases)}


def candidates(
    shown: Shown,
    states: States,
    selected: Selected,
    leases: Sequence[FrameLease],
    person: tuple[str, str],
    left_out: Collection[Place],
    skipped: Sequence[Place],
) -> tuple[Iterator[Place], int]:
    """Return the frames that somebody may be sent to, in order, and how many there are.

    `person`: id and name. Frames that were returned to them come first, frames that they skipped last. Frames leased to
    others, those `left_out`, and what they submitted themselves (in tab `submitted`) are not among them.
    """
    keys = shown.frames.keys
    user_id, name = person
    free = _in_tab(shown, states, selected, leases, user_id)
    for stream, number in (*left_out, *((x.stream_id, x.frame_idx) for x in leases if x.user_id != user_id)):
        row = keys.find(stream, number)
        if row is not None:
            free[row] = False
    if selected.tab == "submitted":
        own = [row for row, by in states.submitted_by.items() if by == name]
        free[own] = False
    rows = order_of(shown, selected.order)
    rows = rows[free[rows]]
    late = [row for place in skipped if (row := keys.find(*place)) is not None and free[row]]
    is_late = np.zeros(len(free), np.bool_)
    is_late[late] = True
    is_own = np.zeros(len(free), np.bool_)
    is_own[[row for row, by in states.submitted_by.items() if by == name and states.state[row] == _RETURNED]] = True
    first, last = is_own[rows] & ~is_late[rows], is_late[rows]
    ordered = np.concatenate([rows[first], rows[~first & ~last], np.array(late, np.int64)])
    return (keys.frame(row) for row in ordered.tolist()), len(rows)


def doubts_of(bits: int) -> list[str]:
    """Return the names of uncertainty measures above zero."""
    return [name for at, name in enumerate(DOUBTS) if bits >> at & 1]
