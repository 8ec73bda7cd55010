"""Recording of review decisions on frames and their objects, as rows of the table `reviews`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
from blake3 import blake3

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with_category
from jobs.storage.store import Drop, Store
from jobs.storage.workspace import Workspace
from jobs.views.categories import categories_of, register
from jobs.views.view import View

SEEN = "seen"
TAGS = "tags"
"""The attribute of a row `seen` with the tags of the frame as a whole."""

DECISIONS = ("approve", "correct", "reject", "add")
IMAGE_KEY = (*schemas.FRAME_KEY, "content_hash")
"""Columns that name a frame and the image that it had when somebody reviewed it."""

_JOB = "review"

Row = dict[str, Any]
ImageKey = tuple[str, int, str]


def frame_rows(
    image: ImageKey,
    decisions: Iterable[Mapping[str, Any]],
    reviewer: str,
    reviewed_ns: int | None = None,
    note: str | None = None,
    default_note: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Return the rows of one reviewed frame, as `record_decisions` takes them: `seen` first, then each object.

    `image` is stream_id, frame_idx and content_hash. `decisions` are objects with the columns `annotation_id`,
    `decision` (one of `DECISIONS`), `category`, `score`, `bbox_x`, `bbox_y`, `bbox_w`, `bbox_h` (pixels of the full
    frame), `mask_rle`, `track_id`, `text`, `source`, `model`, `weights_hash`, `author` and `note`, and those of
    `schemas.COLUMNS_BY_PEOPLE`; other columns are ignored, and missing ones are null. `reviewed_ns` is in ns since
    1970, now by default. `note` is that of the frame, `default_note` that of the frame and of every object without one.
    `attributes` are of the frame, such as `tags`; empty ones are left out.
    """
    text = "\x1f".join([SEEN, *map(str, image)])
    whole = {"annotation_id": blake3(text.encode()).hexdigest()[:32], "decision": SEEN, "note": note}
    if kept := {name: value for name, value in (attributes or {}).items() if value}:
        whole["attributes"] = json.dumps(kept, sort_keys=True, ensure_ascii=False)
    common = {
        **dict(zip(IMAGE_KEY, image, strict=True)),
        "reviewer": reviewer,
        "reviewed_ns": reviewed_ns or time.time_ns(),
    }
    names = schemas.REVIEWS.arrow_schema.names
    rows = [{name: each.get(name) for name in names} | common for each in (whole, *decisions)]
    for row in rows:
        if row["decision"] in {"correct", "add"}:
            row["author"] = row["author"] or reviewer
    return [row | {"note": row["note"] or default_note} for row in rows]


def tags_in(attributes: str | None) -> list[Any]:
    """Return the tags of a frame, from the attributes of its row `seen`."""
    return list(json.loads(attributes or "{}").get(TAGS, ()))


def record_decisions(
    workspace: Workspace,
    rows: Sequence[Row],
    origin: str,
    categories: Collection[str] = (),
    dry_run: bool = False,
    of_server: bool = False,
) -> dict[str, int]:
    """Write the reviews of frames, all or nothing, and return what they were, in numbers.

    `rows` have the columns of `schemas.REVIEWS`; `frame_rows` makes them. Those of one frame belong together: one row
    `seen` and one row for each object on it. What a frame had before is replaced as a whole, so that an object without
    a row counts as never decided upon. `origin` says where a new category came from; `categories` are accepted in
    addition to those that the workspace knows. With `dry_run` nothing is written to `reviews`. `of_server`: frames that
    show another image now are left out and counted as `changed`, and a later review that a file brought is replaced.

    Recording the same rows twice changes nothing: a frame whose rows differ in nothing but `reviewed_ns` counts as
    `unchanged`, and one of which the table holds a later review as `older`; both are left as they are. The other counts
    are `frames`, and the written objects by `decision`.

    Raises `UserError` with every problem, before anything is written: rows that do not fit the schema, an unknown
    decision or category, a frame without exactly one row `seen`, or an image that the frame no longer shows.
    """
    store = Store(workspace.require().root)
    view = View.of(workspace)
    table = _table(rows)
    frames = _by_image(table.to_pylist())
    changed = _unknown_images(frames, view)
    if of_server:
        frames = {image: found for image, found in frames.items() if image not in changed}
    known = frozenset(categories_of(view)) | frozenset(categories)
    wrong = [problem for name in categories if (problem := wrong_with_category(name))]
    if problems := [*wrong, *_row_problems(frames, known), *_said_of([] if of_server else changed)]:
        raise UserError(problems)
    earlier = _earlier(frames, view)
    counts = Counter(dict.fromkeys((*DECISIONS, "unchanged", "older"), 0))
    written: list[Row] = []
    for image, fresh in frames.items():
        before = earlier.get(image, [])
        if _content(fresh) == _content(before):
            counts["unchanged"] += 1
        elif before and _latest_ns(fresh) < _latest_ns(before) and not of_server:
            counts["older"] += 1
        else:
            written += fresh
            counts.update(row["decision"] for row in fresh if row["decision"] != SEEN)
    if written and not dry_run:
        store.create_tables([schemas.REVIEWS, schemas.CATEGORIES])
        kept = pa.Table.from_pylist(written, schemas.REVIEWS.arrow_schema)
        # Numbers first: a reader of a category of `reviews` finds the one that exports give it.
        named = (row["category"] for row in written if row["category"] and row["decision"] != "reject")
        register(store, named, origin, _JOB)
        store.upsert(schemas.REVIEWS, kept, _JOB, Drop(keys=kept.select(list(IMAGE_KEY))))
    return {"frames": len(frames), **counts, **({"changed": len(changed)} if of_server else {})}


def _table(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table that fits the schema. Raises `UserError` with everything that does not."""
    try:
        table = pa.Table.from_pylist(list(rows), schemas.REVIEWS.arrow_schema)
        schemas.REVIEWS.check(table)
    except (pa.ArrowInvalid, pa.ArrowTypeError, schemas.SchemaMismatchError) as error:
        raise UserError(f"reviews cannot be recorded: {error}") from error
    return table


def _by_image(rows: Iterable[Row]) -> dict[ImageKey, list[Row]]:
    frames: dict[ImageKey, list[Row]] = {}
    for row in rows:
        frames.setdefault((row["stream_id"], row["frame_idx"], row["content_hash"]), []).append(row)
    return frames


def _row_problems(frames: Mapping[ImageKey, Sequence[Row]], known: Collection[str]) -> Iterator[str]:
    for (stream, number, _), rows in frames.items():
        place = f"frame {stream} {number}"
        n_seen = sum(row["decision"] == SEEN for row in rows)
        if n_seen != 1:
            yield f"{place}: expected one row `{SEEN}`, found {n_seen}"
        for row in rows:
            if row["decision"] not in {SEEN, *DECISIONS}:
                expected = ", ".join((SEEN, *DECISIONS))
                yield f"{place}: unknown decision {row['decision']!r}; expected one of {expected}"
            elif row["decision"] not in {SEEN, "reject"} and row["category"] not in known:
                yield f"{place}: category {row['category']!r} is not known; name it among the accepted categories"


def _unknown_images(frames: Mapping[ImageKey, Sequence[Row]], view: View) -> list[ImageKey]:
    """Return the frames that do not show the image that was reviewed."""
    wanted = pl.LazyFrame(
        {name: [image[at] for image in frames] for at, name in enumerate(IMAGE_KEY)},
        schema={"stream_id": pl.String, "frame_idx": pl.Int64, "content_hash": pl.String},
    )
    there = view.lazy("frames").filter(pl.col("status") == "ok").select(IMAGE_KEY)
    missing = wanted.join(there, on=list(IMAGE_KEY), how="anti").collect().rows()
    return [(stream, number, content) for stream, number, content in missing]


def _said_of(changed: Iterable[ImageKey]) -> Iterator[str]:
    for stream, number, content in changed:
        yield f"frame {stream} {number}: it does not show image {content[:16]} now; review it again"


def _earlier(frames: Mapping[ImageKey, Sequence[Row]], view: View) -> dict[ImageKey, list[Row]]:
    """Return the rows of `reviews` that there are of these images."""
    streams = sorted({stream for stream, _, _ in frames})
    found = _by_image(view.lazy("reviews").filter(pl.col("stream_id").is_in(streams)).collect().to_dicts())
    return {image: rows for image, rows in found.items() if image in frames}


def _latest_ns(rows: Sequence[Row]) -> int:
    return max(int(row["reviewed_ns"]) for row in rows)


def _content(rows: Sequence[Row]) -> list[str]:
    """Return what rows say except for when, sorted, in the precision of the table."""
    table = pa.Table.from_pylist(list(rows), schemas.REVIEWS.arrow_schema).drop_columns(["reviewed_ns", "event_seq"])
    return sorted(repr(row) for row in table.to_pylist())
