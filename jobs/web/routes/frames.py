"""Lists of frames by filters, counts of their kinds, and all that is known of a single one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query

from jobs.core.errors import UserError
from jobs.web.frame_columns import NO_TIME
from jobs.web.frame_details import frame_detail
from jobs.web.frame_filters import FrameFilter, Keep, check_sort, facets, listed
from jobs.web.frame_table import FrameTable
from jobs.web.frame_vectors import KINDS
from jobs.web.plain import number, utc
from jobs.web.problems import MissingError
from jobs.web.projections import STORED, MapBy
from jobs.web.routes.project_parts import Data, Number, Stream
from jobs.web.snapshots import FrameList

router = APIRouter(tags=["frames"])

_MOST_FRAMES = 1000
_MOST_LETTERS = 10_000
_INTERVAL = r"^(0(\.\d+)?|1(\.0+)?)-(0(\.\d+)?|1(\.0+)?)$"
_AREA = rf"^({'|'.join((*KINDS, *STORED))}):[0-9.,;]+$"
_LEAST_CORNERS, _MOST_CORNERS = 3, 200
_Names = Annotated[list[Annotated[str, Query(min_length=1, max_length=1000)]], Query(max_length=100)]


def _filter(
    where: Annotated[str | None, Query(max_length=_MOST_LETTERS, description="SQL on columns of `curated`.")] = None,
    stream: _Names = [],  # noqa: B006 - it is copied
    keep: Annotated[list[Keep], Query(max_length=3)] = [],  # noqa: B006
    reason: _Names = [],  # noqa: B006
    category: _Names = [],  # noqa: B006
    hour: Annotated[list[Annotated[int, Query(ge=0, le=23)]], Query(max_length=24)] = [],  # noqa: B006
    score: Annotated[
        str | None, Query(max_length=60, pattern=_INTERVAL, description="Interval of the highest score, as 0.3-0.5.")
    ] = None,
    flag: _Names = [],  # noqa: B006
    scene: _Names = [],  # noqa: B006
    caption: _Names = [],  # noqa: B006
    group: _Names = [],  # noqa: B006
    reviewed: Annotated[list[Literal["yes", "no"]], Query(max_length=2)] = [],  # noqa: B006
    selection: _Names = [],  # noqa: B006
    area: Annotated[
        str | None,
        Query(max_length=4000, pattern=_AREA, description="Polygon on the map, as layout:0.1,0.2;0.3,0.2;0.3,0.4."),
    ] = None,
) -> FrameFilter:
    condition = where if where and where.strip() else None
    verdicts: tuple[Keep, ...] = tuple(sorted(set(keep)))
    hours = tuple(sorted(set(hour)))
    between = None
    if score is not None:
        low, high = (float(edge) for edge in score.split("-"))
        between = (low, high)
    return FrameFilter(
        where=condition,
        stream=_sorted(stream),
        keep=verdicts,
        reason=_sorted(reason),
        category=_sorted(category),
        hour=hours,
        score=between,
        flag=_sorted(flag),
        scene=_sorted(scene),
        caption=_sorted(caption),
        group=_sorted(group),
        reviewed=_sorted(reviewed),
        selection=_sorted(selection),
        area=None if area is None else _polygon(area),
    )


def _polygon(text: str) -> tuple[MapBy, tuple[tuple[float, float], ...]]:
    """Return the vectors of a map, and the corners of a polygon on it. Raises `UserError` for no polygon."""
    by, _, places = text.partition(":")
    try:
        corners = tuple((float(x), float(y)) for x, y in (place.split(",") for place in places.split(";")))
    except ValueError:
        corners = ()
    if not _LEAST_CORNERS <= len(corners) <= _MOST_CORNERS or not all(0 <= edge <= 1 for at in corners for edge in at):
        raise UserError(f"area: expected {_LEAST_CORNERS} to {_MOST_CORNERS} corners, as x,y;x,y;… from 0 to 1")
    return next(name for name in (*KINDS, *STORED) if name == by), corners


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


Wanted = Annotated[FrameFilter, Depends(_filter)]


@router.get("/projects/{project}/frames", name="list_frames")
def list_frames(
    data: Data,
    wanted: Wanted,
    sort: Annotated[str, Query(max_length=100)] = "stream",
    snapshot: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_FRAMES)] = 200,
) -> Any:
    """Return frames from a place in a list on; `snapshot` of the answer gives the same list to later requests.

    With `snapshot`, filters and order are those of the list. The values of each frame are those of now. 410 for a
    list that the server does not keep any more.
    """
    shown = data.shown()
    if snapshot is None:
        check_sort(sort)
        frames = listed(shown, wanted, sort)
        snapshot = data.snapshots.add(frames)
    else:
        frames = data.snapshots.get(snapshot)
    rows = _described(shown.frames, frames, start, limit)
    return {"snapshot": snapshot, "total": len(frames), "start": start, "frames": rows}


@router.get("/projects/{project}/facets", name="facets")
def show_facets(data: Data, wanted: Wanted) -> Any:
    """Return how many frames fulfil the filters, and of each kind how many frames have which value.

    The counts of a kind do not regard its own filter: they say what another choice would show.
    """
    return facets(data.shown(), wanted)


@router.get("/projects/{project}/frame", name="frame")
def show_frame(data: Data, stream: Stream, idx: Number) -> Any:
    """Return all values of a frame by table, why it was kept or dropped, its objects, and its duplicates."""
    shown = data.shown()
    row = shown.frames.keys.find(stream, idx)
    if row is None:
        raise MissingError(f"there is no frame {idx} of stream {stream[:100]!r}")
    return frame_detail(shown, row)


def _described(table: FrameTable, frames: FrameList, start: int, limit: int) -> list[dict[str, Any]]:
    named = frames.page(start, limit)
    if frames.keys is table.keys:
        places: list[int | None] = [*frames.places(start, limit)]
    else:
        places = [table.keys.find(*frame) for frame in named]
    there = np.array([place for place in places if place is not None], np.int64)
    bits, times = table.verdicts.bits[there].tolist(), table.column("time")[there].tolist()
    sizes = [np.nan_to_num(table.column(name)[there]).astype(int).tolist() for name in ("width", "height")]
    counts = table.objects.counts[there].tolist()
    known = iter(zip(table.hashes(there), *sizes, bits, counts, times, strict=True))
    found = []
    for (stream, idx), place in zip(named, places, strict=True):
        # A frame may have been deleted since the list was made.
        h, width, height, verdict, n, time = next(known) if place is not None else (None, 0, 0, 0, -1, NO_TIME)
        found.append(
            {
                "stream_id": stream,
                "frame_idx": number(idx),
                "row": place,
                "h": h,
                "width": width or None,
                "height": height or None,
                "keep": bool(verdict & 1) if verdict & 2 else None,
                "reasons": table.verdicts.reasons_of(verdict),
                "n_objects": None if n < 0 else n,
                "t": None if time == NO_TIME else utc(time),
            }
        )
    return found
