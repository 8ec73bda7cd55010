"""Which frames somebody wants to see, in which order, and how many of them there are of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import polars as pl

import schemas
from jobs.core.errors import UserError
from jobs.web import frame_kinds
from jobs.web.frame_columns import FIRST_REASON, NO_TIME, Array
from jobs.web.frame_conditions import fulfilled
from jobs.web.frame_table import FrameTable
from jobs.web.project_data import Shown
from jobs.web.projections import MapBy, frame_map, inside
from jobs.web.snapshots import FrameList

Keep = Literal["kept", "dropped", "undecided"]

SORTS = ("stream", "time", "sharpness", "luma", "motion")
"""What frames are sorted by; with a minus before it, the other way. Frames without a value come last."""

_MOST_VALUES = 1000
_HOUR_NS = 3_600_000_000_000
_HOURS = 24


@dataclass(frozen=True)
class FrameFilter:
    """What frames have to fulfil, all of it; of several values of one kind, one is enough.

    `where` is an SQL condition on the columns of `curated`. `hour` is that of the day in UTC. `score` is the interval,
    both ends included, that the highest score of an object on the frame is in. `scene` is NUMBER@STREAM.
    `selection` names samples of `winnow select`, and the frames on which evaluations found most errors. `area` is a
    polygon on the map by some vectors, with x and y from 0 to 1.
    """

    where: str | None = None
    stream: tuple[str, ...] = ()
    keep: tuple[Keep, ...] = ()
    reason: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    hour: tuple[int, ...] = ()
    score: tuple[float, float] | None = None
    flag: tuple[str, ...] = ()
    scene: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    reviewed: tuple[str, ...] = ()
    selection: tuple[str, ...] = ()
    area: tuple[MapBy, tuple[tuple[float, float], ...]] | None = None

    def masks(self, shown: Shown) -> dict[str, Array]:
        """Return for each kind that is restricted which frames fulfil it, boolean, shape (N,).

        Raises `UserError` for a condition that is not one, or takes too long.
        """
        found = {}
        for entry in fields(self):
            wanted = getattr(self, entry.name)
            if wanted:
                key = ("mask", entry.name, wanted)
                found[entry.name] = shown.result(key, lambda: _MASKS[entry.name](shown, wanted))  # noqa: B023 - at once
        return found


def chosen(shown: Shown, wanted: FrameFilter) -> Array:
    """Return which frames fulfil a filter, boolean, shape (N,)."""
    found = _all_of(list(wanted.masks(shown).values()))
    return np.ones(len(shown.frames.keys), np.bool_) if found is None else found


def listed(shown: Shown, wanted: FrameFilter, sort: str) -> FrameList:
    """Return the frames that fulfil a filter, sorted."""
    return shown.result(("list", wanted, sort), lambda: _listed(shown, wanted, sort))


def facets(shown: Shown, wanted: FrameFilter) -> dict[str, Any]:
    """Return how many frames fulfil a filter, and how many there are of each value of each kind.

    The counts of a kind are of frames that fulfil all else: they say what choosing another value of it would show.
    """
    return shown.result(("facets", wanted), lambda: _facets(shown, wanted))


def _listed(shown: Shown, wanted: FrameFilter, sort: str) -> FrameList:
    table = shown.frames
    chosen = _all_of(list(wanted.masks(shown).values()))
    name, is_down = sort.removeprefix("-"), sort.startswith("-")
    if chosen is None and sort == "stream":
        return FrameList(table.keys, None)
    rows = np.arange(len(table.keys)) if chosen is None else np.flatnonzero(chosen)
    rows = rows.astype(np.uint32)
    if name != "stream":
        rows = rows[_order(table.column(name)[rows], is_down)]
    elif is_down:
        rows = rows[::-1].copy()
    return FrameList(table.keys, rows)


def _order(values: Array, is_down: bool) -> Array:
    if values.dtype == np.int64:
        unknown = values == NO_TIME
        values = np.where(unknown, np.iinfo(np.int64).max, -values if is_down else values)
    elif is_down:
        values = -values
    return np.argsort(values, kind="stable")


def _all_of(masks: Sequence[Array]) -> Array | None:
    """Return which frames fulfil all; None where nothing is asked of them."""
    found = None
    for mask in masks:
        found = mask if found is None else found & mask
    return found


def _streams(shown: Shown, names: tuple[str, ...]) -> Array:
    found = np.zeros(len(shown.frames.keys), np.bool_)
    for name in names:
        found[shown.frames.keys.rows_of(name)] = True
    return found


def _keep(shown: Shown, wanted: tuple[Keep, ...]) -> Array:
    verdicts = shown.frames.verdicts
    found = np.zeros(len(verdicts.bits), np.bool_)
    if "kept" in wanted:
        found |= verdicts.kept
    if "dropped" in wanted:
        found |= verdicts.dropped
    if "undecided" in wanted:
        found |= verdicts.bits == 0
    return found


def _reasons(shown: Shown, names: tuple[str, ...]) -> Array:
    verdicts = shown.frames.verdicts
    return np.logical_or.reduce([verdicts.has(name) for name in names])


def _categories(shown: Shown, names: tuple[str, ...]) -> Array:
    objects = shown.frames.objects
    codes = [objects.names.index(name) for name in names if name in objects.names]
    found = np.zeros(len(objects.counts), np.bool_)
    found[objects.rows[np.isin(objects.categories, codes)]] = True
    return found


def _hours(shown: Shown, hours: tuple[int, ...]) -> Array:
    return np.isin(_hour_of(shown), hours)


def _hour_of(shown: Shown) -> Array:
    """Return the hour of the day of each frame, in UTC; 24 where its time is not known."""
    times = shown.frames.column("time")
    return np.where(times == NO_TIME, _HOURS, times // _HOUR_NS % _HOURS).astype(np.uint8)


def _selections(shown: Shown, names: tuple[str, ...]) -> Array:
    rows = shown.store.open(schemas.SELECTIONS).lazy().filter(pl.col("selection").is_in(names))
    return shown.frames.mask_of(rows.select(schemas.FRAME_KEY).collect().to_arrow())


def _scores(shown: Shown, between: tuple[float, float]) -> Array:
    values = frame_kinds.scores(shown)
    # Scores are stored with 24 bits: what is written as 0.3 is in the interval from 0.3 on.
    low, high = np.float32(between[0]), np.float32(between[1])
    return (values >= low) & (values <= high)


def _area(shown: Shown, area: tuple[MapBy, tuple[tuple[float, float], ...]]) -> Array:
    by, corners = area
    return inside(frame_map(shown, by), np.array(corners, np.float32))


def _of_kind(kind: str) -> Callable[[Shown, tuple[str, ...]], Array]:
    return lambda shown, names: frame_kinds.KINDS[kind](shown).mask(names)


_MASKS: dict[str, Callable[[Shown, Any], Array]] = {
    "where": fulfilled,
    "stream": _streams,
    "keep": _keep,
    "reason": _reasons,
    "category": _categories,
    "hour": _hours,
    "score": _scores,
    "selection": _selections,
    "area": _area,
    **{kind: _of_kind(kind) for kind in frame_kinds.KINDS},
}


def _facets(shown: Shown, wanted: FrameFilter) -> dict[str, Any]:
    masks = wanted.masks(shown)
    table, n = shown.frames, len(shown.frames.keys)

    def others(kind: str) -> Array:
        found = _all_of([mask for name, mask in masks.items() if name != kind])
        return np.ones(n, np.bool_) if found is None else found

    chosen = _all_of(list(masks.values()))
    return {
        "total": n if chosen is None else int(chosen.sum()),
        "facets": {
            "keep": _of_verdict(table, others("keep")),
            "reason": _of_reason(table, others("reason")),
            "stream": _values(table.keys.streams, table.keys.per_stream(others("stream"))),
            "category": _of_category(table, others("category")),
            "hour": _of_hour(shown, others("hour")),
            "score": frame_kinds.score_bins(shown, others("score")),
            **{kind: read(shown).values(others(kind)) for kind, read in frame_kinds.KINDS.items()},
        },
        "absent": frame_kinds.absent(shown),
    }


def _values(names: Sequence[str | None], counts: Array) -> list[dict[str, Any]]:
    """Return values with the number of frames of each, without those of none; a thousand of them at most."""
    there = np.flatnonzero(counts)[:_MOST_VALUES].tolist()
    return [{"value": names[at], "frames": int(counts[at])} for at in there]


def _of_verdict(table: FrameTable, chosen: Array) -> list[dict[str, Any]]:
    counts = np.bincount(table.verdicts.bits[chosen] & 3, minlength=4)
    # Bit 0: kept; bit 1: decided.
    return _values(("kept", "dropped", None), np.array([counts[3], counts[2], counts[0]]))


def _of_reason(table: FrameTable, chosen: Array) -> list[dict[str, Any]]:
    verdicts = table.verdicts
    bits = verdicts.bits[chosen]
    counts = [np.count_nonzero(bits & (1 << (FIRST_REASON + at))) for at in range(len(verdicts.names))]
    return _values(verdicts.names, np.array(counts))


def _of_category(table: FrameTable, chosen: Array) -> list[dict[str, Any]]:
    objects = table.objects
    counts = np.bincount(objects.categories[chosen[objects.rows]], minlength=len(objects.names))
    found = _values(objects.names, counts)
    return sorted(found, key=lambda entry: (-entry["frames"], entry["value"]))


def _of_hour(shown: Shown, chosen: Array) -> list[dict[str, Any]]:
    times = shown.frames.column("time")
    if not len(times) or (times == NO_TIME).all():
        return []
    counts = np.bincount(_hour_of(shown)[chosen], minlength=_HOURS + 1)
    return _values([*(f"{hour:02d}" for hour in range(_HOURS)), None], counts)


def check_sort(sort: str) -> None:
    """Raise `UserError` for an order that is unknown."""
    if sort.removeprefix("-") not in SORTS:
        raise UserError(f"sort: expected one of {', '.join(SORTS)}, also with - before it, found {sort[:60]!r}")
