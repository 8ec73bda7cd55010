"""What people do in a round: its frames as files for them, how many they have reviewed, and what they changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

import schemas
from jobs.active_learning.choice import RANDOM, selection_of
from jobs.active_learning.loop_log import FOLDER
from jobs.active_learning.options import LoopOptions
from jobs.review.decisions import IMAGE_KEY, SEEN
from jobs.review.export_reviews import QueueRequest, export_queue
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views import final_objects
from jobs.views.view import View

_ERRORS = ("correct", "add", "reject")


def folder_of(workspace: Workspace, name: str, number: int) -> Path:
    """Return the folder with the frames of a round as files."""
    return workspace.folder / FOLDER / name / f"round-{number}"


def published(workspace: Workspace, options: LoopOptions, number: int, categories: tuple[str, ...]) -> Path:
    """Write the frames of a round for an annotation tool, unless they are there, and return the folder.

    In the browser they are in the queue like others. It is there as a whole or not at all.
    """
    folder = folder_of(workspace, options.name, number)
    if not (folder / "manifest.json").is_file():
        request = QueueRequest(
            options.format, folder, selection=selection_of(options.name, number), categories=categories
        )
        export_queue(workspace, request)
    return folder


def reviewed(workspace: Workspace, name: str, number: int) -> dict[str, Any]:
    """Return what people have done so far of the frames of a round, in numbers.

    `frames`, `asked`; objects that are `approved`, `corrected`, `added`, `rejected`; and of the frames that uncertainty
    and chance have chosen the share with an error, `errors_uncertain` and `errors_random`, None where there are none.
    """
    view = View.of(workspace)
    rows = pl.DataFrame(Store(workspace.root).read(schemas.SELECTIONS))
    asked = rows.filter(pl.col("selection") == selection_of(name, number)).select(*IMAGE_KEY, "reason")
    asked = asked.with_columns(pl.col("stream_id", "content_hash", "reason").cast(pl.String))
    seen = asked.join(view.lazy(final_objects.REVIEWED).collect(), on=IMAGE_KEY, how="semi")
    decisions = view.lazy("reviews").filter(pl.col("decision") != SEEN).select(*IMAGE_KEY, "decision").collect()
    mine = decisions.join(seen, on=IMAGE_KEY, how="semi")
    counts: Mapping[str, int] = dict(mine.group_by("decision").len().iter_rows())
    wrong = mine.filter(pl.col("decision").is_in(_ERRORS)).select(IMAGE_KEY).unique()
    marked = seen.join(wrong.with_columns(is_wrong=True), on=IMAGE_KEY, how="left")
    by_chance = pl.col("reason") == RANDOM
    shares = {
        which: marked.filter(chosen)["is_wrong"].fill_null(False).mean()
        for which, chosen in (("errors_uncertain", ~by_chance), ("errors_random", by_chance))
    }
    return {
        "asked": asked.height,
        "frames": seen.height,
        "approved": counts.get("approve", 0),
        "corrected": counts.get("correct", 0),
        "added": counts.get("add", 0),
        "rejected": counts.get("reject", 0),
        **shares,
    }
