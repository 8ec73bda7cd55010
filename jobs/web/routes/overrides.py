"""Frames that people keep or drop by hand."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, Field

import schemas
from jobs.review import overrides
from jobs.web.identity import Me
from jobs.web.plain import number, utc
from jobs.web.routes.bodies import Body
from jobs.web.routes.project_parts import Data

router = APIRouter(prefix="/projects/{project}", tags=["frames"])

_MOST_FRAMES = 10_000
_DIGITS = re.compile(r"\d{1,19}")


def _number(value: Any) -> Any:
    """Return the number that a text of digits is: browsers have no whole numbers beyond 2^53."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


FrameNumber = Annotated[int, BeforeValidator(_number, json_schema_input_type=int | str), Field(ge=0, lt=2**63)]


class FrameDecision(Body):
    """A frame, and what is to become of it: None leaves it to curation again."""

    stream_id: Annotated[str, Field(min_length=1, max_length=1000)]
    frame_idx: FrameNumber
    decision: Literal["keep", "drop"] | None
    note: Annotated[str, Field(max_length=overrides.MOST_NOTE)] | None = None


class FrameDecisions(Body):
    """Decisions about frames, each named once.

    With `unless_after_ns`, the `decided_ns` of an answer, frames that somebody else has decided about since are left as
    they are: sent with the `before` of that answer, it undoes what was done then.
    """

    frames: Annotated[tuple[FrameDecision, ...], Field(min_length=1, max_length=_MOST_FRAMES)]
    unless_after_ns: Annotated[str, Field(pattern=r"^\d{1,19}$")] | None = None


class DecisionBefore(BaseModel):
    """What somebody had decided about a frame before; None for nobody."""

    stream_id: str
    frame_idx: int | str
    decision: str | None
    note: str | None


class OverridesChanged(BaseModel):
    """How many frames changed how, which have not, and what those that changed had before."""

    decided_ns: str
    keep: int
    drop: int
    removed: int
    unchanged: int
    newer: int
    before: list[DecisionBefore]


class ListedOverride(BaseModel):
    """An override, with who decided and when."""

    stream_id: str
    frame_idx: int | str
    content_hash: str
    decision: str
    author: str
    decided_at: str | None
    note: str | None


class OverridesPage(BaseModel):
    """Overrides in order of stream and number, from a place on; and how many there are."""

    total: int
    start: int
    overrides: list[ListedOverride]


@router.get("/overrides", name="list_overrides")
def list_overrides(
    data: Data,
    start: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> OverridesPage:
    """Return what was decided by hand, and by whom."""
    rows = data.shown().store.read(schemas.OVERRIDES).sort_by([(name, "ascending") for name in schemas.FRAME_KEY])
    found = [
        ListedOverride(**row | {"frame_idx": number(row["frame_idx"])}, decided_at=utc(row["decided_ns"]))
        for row in rows.slice(start, limit).to_pylist()
    ]
    return OverridesPage(total=rows.num_rows, start=start, overrides=found)


@router.put("/overrides", name="put_overrides")
def put_overrides(data: Data, body: FrameDecisions, me: Me) -> OverridesChanged:
    """Keep or drop frames by hand, or leave them to curation again: all of them, or none with the reasons why.

    The same request once more changes nothing.
    """
    wanted = [overrides.Override(each.stream_id, each.frame_idx, each.decision, each.note) for each in body.frames]
    after = None if body.unless_after_ns is None else int(body.unless_after_ns)
    found = overrides.record(data.shown().workspace, wanted, me.name, after)
    data.check_again()
    before = [
        DecisionBefore(
            stream_id=each.stream_id, frame_idx=number(each.frame_idx), decision=each.decision, note=each.note
        )
        for each in found.before
    ]
    return OverridesChanged(decided_ns=str(found.decided_ns), **found.counts, before=before)
