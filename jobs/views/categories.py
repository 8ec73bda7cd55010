"""Numbers of categories in exports: once given, a number is never given to another category."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from conf.stages import STAGES
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with_category
from jobs.core.stage import Stage
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Snapshot, Store
from jobs.views import snapshot_spec
from jobs.views.view import View
from transforms.formats.exports.objects import vocabulary

NAMES = "annotate.names"
_BEFORE = "rows of a workspace without numbers"


def register(store: Store, names: Iterable[str], origin: str, job_id: str) -> None:
    """Give the next numbers to those of some names that have none yet, in this order, also while other runs do so.

    Where annotations are there and no numbers, as after an accepted loss of the table, theirs come first.
    Raises `UserError` for names that are no category's.
    """
    wanted = tuple(dict.fromkeys(names))
    if wrong := list(filter(None, map(wrong_with_category, wanted))):
        raise UserError(wrong)

    def change(snapshot: Snapshot) -> Change | None:
        there = set(snapshot.read(["category"])["category"].to_pylist())
        added = {} if there else dict.fromkeys(_unnumbered(View(store, snapshot_spec.current(store))), _BEFORE)
        added |= {name: origin for name in wanted if name not in there | added.keys()}
        if not added:
            return None
        rows = {
            "number": range(len(there), len(there) + len(added)),
            "category": added.keys(),
            "origin": added.values(),
            "job_id": [job_id] * len(added),
            "added_ns": [time.time_ns()] * len(added),
        }
        columns = {name: list(values) for name, values in rows.items()}
        return Change([write_part(store.root, schemas.CATEGORIES, pa.table(columns, schemas.CATEGORIES.arrow_schema))])

    if wanted:
        store.transact(schemas.CATEGORIES, change, job_id)


def register_model(store: Store, stage: Stage, job_id: str) -> None:
    """Give numbers to all that a stage can find, in the order of its model; nothing for stages that find no objects."""
    work = stage.spec.model
    if work is None or work.finds is None:
        return
    if names := stage.params.get(work.finds.param):
        origin = (stage.name, *(stage.params.get(f"{work.section}.{name}") for name in ("detector", "weights_hash")))
        register(store, names, " ".join(str(part) for part in origin if part), job_id)
    else:
        register(store, work.finds.names, stage.name, job_id)


def categories_of(view: View) -> tuple[str, ...]:
    """Return all categories that a view knows, in the order that labels are numbered by.

    Those without a number, as after an accepted loss of the table, come after the others.
    """
    numbered = view.lazy("categories").sort("number").collect()["category"].to_list()
    return tuple(dict.fromkeys((*numbered, *_unnumbered(view))))


def _unnumbered(view: View) -> Sequence[str]:
    """Return the categories of a view in an order that is made of what it shows.

    Those that people brought in come last, in the order in which they did.
    """
    found = pl.concat([view.lazy(name).select("category") for name in _relations()])
    brought = view.lazy("reviews").drop_nulls("category").group_by("category").agg(pl.col("reviewed_ns").min())
    later = brought.sort("reviewed_ns", "category").collect()["category"].to_list()
    seen = set(found.unique().collect()["category"].to_list()) - set(later)
    known = vocabulary((p.get(NAMES) or [] for p in params_of(view)), seen)
    return tuple(dict.fromkeys((*known, *later)))


def _relations() -> list[str]:
    """Return what a view calls the objects of detectors that are final: of the first stage, and those of others."""
    table = schemas.ANNOTATIONS
    finders = [s.name for s in STAGES if table in s.more_tables and s.model and s.model.is_final]
    return [table.name if name == table.written_by else f"{table.name}:{name}" for name in finders]


def params_of(
    view: View, stage: str = schemas.ANNOTATIONS.written_by, key: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a stage whose rows a view shows, under one key or under all."""
    keys = sorted(set(view.selection.keys.get(stage, {}).values())) if key is None else [key]
    params = view.newest("stage_runs").filter(pl.col("stage_key").is_in(keys)).select("params").unique().collect()
    for text in sorted(params["params"].to_list()):
        yield json.loads(text)
