"""Recording of what people decide about frames against curation: keep or drop by hand, as rows of `overrides`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import many
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Drop, Snapshot, Store
from jobs.storage.workspace import Workspace
from jobs.views.overridden_verdicts import DROP, IMAGE, KEEP
from jobs.views.view import View

MOST_NOTE = 2000
"""Letters of a note, at most."""

_JOB = "override"
_MOST_PROBLEMS = 10
_KEY = list(schemas.FRAME_KEY)

FrameId = tuple[str, int]


@dataclass(frozen=True)
class Override:
    """What somebody wants of a frame: `keep` or `drop`, or None to leave it to curation again."""

    stream_id: str
    frame_idx: int
    decision: str | None
    note: str | None = None

    @property
    def frame(self) -> FrameId:
        """Return the key of the frame."""
        return self.stream_id, self.frame_idx


@dataclass(frozen=True)
class Recorded:
    """What was recorded: when (ns since 1970), how many frames changed how, and what these had before.

    `counts` has `keep`, `drop` and `removed`; `unchanged` for frames that had the same already; and `newer` for those
    that somebody else has decided about since, which stay. `before` has one entry for each frame that changed.
    """

    decided_ns: int
    counts: dict[str, int]
    before: list[Override]


def record(
    workspace: Workspace,
    wanted: Sequence[Override],
    author: str,
    unless_after_ns: int | None = None,
    now_ns: int | None = None,
) -> Recorded:
    """Write overrides, all or none in one transaction, and return what changed.

    Doing the same twice changes nothing the second time. With `unless_after_ns`, frames that somebody else has decided
    about after that time (ns since 1970) are left as they are: a change is undone without undoing what others did.

    Raises `UserError` with every problem, before anything is written: frames that are named twice or are not there,
    images to keep that do not decode, and an empty author.
    """
    store = Store(workspace.require().root)
    shown = _shown(View.of(workspace), wanted)
    if problems := [*_problems(wanted, author, shown)]:
        raise UserError(_few(problems))
    decided_ns = now_ns or time.time_ns()
    found = Recorded(decided_ns, {}, [])

    def change(snapshot: Snapshot) -> Change | None:
        nonlocal found
        present = {(row["stream_id"], row["frame_idx"]): row for row in _present(snapshot, wanted)}
        counts = Counter({"keep": 0, "drop": 0, "removed": 0, "unchanged": 0, "newer": 0})
        fresh: list[dict[str, Any]] = []
        changed: list[Override] = []
        for each in wanted:
            now, (content, _) = present.get(each.frame), shown.get(each.frame, ("", ""))
            if unless_after_ns is not None and now is not None and _is_of_another(now, author, unless_after_ns):
                counts["newer"] += 1
            elif _is_same(now, each, content):
                counts["unchanged"] += 1
            else:
                counts[each.decision or "removed"] += 1
                changed.append(_before(now, each, content))
                if each.decision is not None:
                    fresh.append(_row(each, content, author, decided_ns))
        found = Recorded(decided_ns, dict(counts), changed)
        if not changed:
            return None
        schema = schemas.OVERRIDES.arrow_schema
        parts = [write_part(store.root, schemas.OVERRIDES, pa.Table.from_pylist(fresh, schema))] if fresh else []
        keys = pl.DataFrame([each.frame for each in changed], schema=_KEY, orient="row")
        types = pa.schema([schema.field(name) for name in _KEY])
        return Change(parts, [Drop(keys=keys.to_arrow().cast(types))])

    if wanted:
        store.create_tables([schemas.OVERRIDES])
        store.transact(schemas.OVERRIDES, change, _JOB)
    return found


def frames_where(view: View, condition: str) -> list[FrameId]:
    """Return the frames that an SQL condition on `curated` chooses, in order."""
    rows = view.sql(f"SELECT stream_id, frame_idx FROM curated WHERE ({condition}\n) ORDER BY 1, 2")
    return [(row["stream_id"], row["frame_idx"]) for row in rows.to_pylist()]


def _present(snapshot: Snapshot, wanted: Sequence[Override]) -> list[dict[str, Any]]:
    return snapshot.read(None, None, frozenset(each.stream_id for each in wanted)).to_pylist()


def _shown(view: View, wanted: Sequence[Override]) -> dict[FrameId, tuple[str, str]]:
    """Return content and status of each of the frames that is there."""
    keys = pl.LazyFrame(
        [each.frame for each in wanted], schema={"stream_id": pl.String, "frame_idx": pl.Int64}, orient="row"
    )
    streams = sorted({each.stream_id for each in wanted})
    rows = view.lazy("frames").filter(pl.col("stream_id").is_in(streams)).select(*IMAGE, "status")
    found = rows.join(keys, on=_KEY, how="semi").collect()
    return {(stream, idx): (content, status) for stream, idx, content, status in found.rows()}


def _problems(wanted: Sequence[Override], author: str, shown: dict[FrameId, tuple[str, str]]) -> Iterator[str]:
    if not author.strip():
        yield "expected the name of who decides, found none"
    for (stream, idx), n in Counter(each.frame for each in wanted).items():
        if n > 1:
            yield f"frame {idx} of {stream!r} is named {many(n, 'time')}; name it once"
    for each in wanted:
        place = f"frame {each.frame_idx} of {each.stream_id!r}"
        if each.note is not None and len(each.note) > MOST_NOTE:
            yield f"{place}: expected a note of at most {MOST_NOTE:,} letters, found {len(each.note):,}"
        if each.decision is None:
            continue
        if each.frame not in shown:
            yield f"there is no {place}"
        elif each.decision not in {KEEP, DROP}:
            yield f"{place}: expected {KEEP} or {DROP}, found {each.decision!r}"
        elif each.decision == KEEP and shown[each.frame][1] != "ok":
            yield f"{place} does not decode, so that it cannot be kept"


def _few(problems: list[str]) -> list[str]:
    more = len(problems) - _MOST_PROBLEMS
    return [*problems[:_MOST_PROBLEMS], f"and {more:,} more"] if more > 0 else problems


def _is_of_another(now: dict[str, Any], author: str, after_ns: int) -> bool:
    return bool(now["decided_ns"] > after_ns and now["author"] != author)


def _is_same(now: dict[str, Any] | None, wanted: Override, content: str) -> bool:
    if now is None:
        return wanted.decision is None
    said = (now["content_hash"], now["decision"], now["note"])
    return said == (content, wanted.decision, wanted.note or None)


def _before(now: dict[str, Any] | None, wanted: Override, content: str) -> Override:
    if now is None or now["content_hash"] != content:
        return Override(*wanted.frame, None)
    return Override(*wanted.frame, now["decision"], now["note"])


def _row(wanted: Override, content: str, author: str, decided_ns: int) -> dict[str, Any]:
    return {
        "stream_id": wanted.stream_id,
        "frame_idx": wanted.frame_idx,
        "content_hash": content,
        "decision": wanted.decision,
        "author": author,
        "decided_ns": decided_ns,
        "note": wanted.note or None,
    }
