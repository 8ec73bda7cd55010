"""Tracks that a person made in an annotation tool, as numbers of the workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import polars as pl

from jobs.views import final_objects
from jobs.views.view import View
from transforms.formats.reviewing.known_frames import Known
from transforms.formats.reviewing.match_objects import Decided


class _OfFrame(Protocol):
    @property
    def known(self) -> Known: ...

    @property
    def reviewer(self) -> str: ...


_Frame = TypeVar("_Frame", bound=_OfFrame)


def with_tracks(decided: Sequence[tuple[_Frame, Decided]], view: View) -> list[tuple[_Frame, Decided]]:
    """Return decisions in which the objects of a track of the tool have one number.

    That is the number that most of these objects have already, in their stream; where none has one, the next that is
    free. An object that gets another number than it had is corrected.
    """
    before: dict[tuple[str, str], Counter[int]] = {}
    for frame, each in decided:
        for row in each.decisions:
            if row["track"] is not None:
                numbers = before.setdefault((frame.known.stream_id, row["track"]), Counter())
                numbers.update([row["track_id"]] if row["track_id"] is not None else [])
    if not before:
        return list(decided)
    free = _first_free(view, {stream for stream, _ in before})
    chosen: dict[tuple[str, str], int] = {}
    taken: set[tuple[str, int]] = set()
    for (stream, track), numbers in sorted(before.items(), key=lambda item: (-sum(item[1].values()), item[0])):
        likely = sorted(numbers, key=lambda n: (-numbers[n], n))
        number = next((n for n in likely if (stream, n) not in taken), None)
        if number is None:
            number = free[stream]
            free[stream] += 1
        taken.add((stream, number))
        chosen[stream, track] = number
    return [(frame, _numbered(each, frame, chosen)) for frame, each in decided]


def _first_free(view: View, streams: set[str]) -> dict[str, int]:
    free = dict.fromkeys(streams, 0)
    for table in ("annotations", final_objects.NAME):
        rows = view.lazy(table).filter(pl.col("stream_id").is_in(sorted(streams)), pl.col("track_id").is_not_null())
        for stream, last in rows.group_by("stream_id").agg(pl.col("track_id").max()).collect().iter_rows():
            free[stream] = max(free[stream], last + 1)
    return free


def _numbered(decided: Decided, frame: _OfFrame, chosen: dict[tuple[str, str], int]) -> Decided:
    rows: list[dict[str, Any]] = []
    for row in decided.decisions:
        number = row["track_id"] if row["track"] is None else chosen[frame.known.stream_id, row["track"]]
        corrected = {"decision": "correct", "source": "review", "score": 1.0, "author": frame.reviewer}
        changes = corrected if number != row["track_id"] and row["decision"] == "approve" else {}
        rows.append({**row, **changes, "track_id": number})
    is_changed = any(new["track_id"] != old["track_id"] for new, old in zip(rows, decided.decisions, strict=True))
    return replace(decided, decisions=rows, is_changed=decided.is_changed or is_changed)
