"""The final objects of each frame: as models found them, corrected by vision language models and by people.

Tables of models are never changed by a review. Exports and scores read these views instead, which `View.lazy` and SQL
have under the names in `VIEWS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

import schemas
from jobs.views import imported_labels, project_settings
from schemas import FRAME_KEY

NAME = "objects"
BY_MODELS = "objects_by_models"
REVIEWED = "reviewed_frames"

HUMAN = ("approve", "correct", "add")
"""Decisions of a reviewer after which an object is there."""

COLUMNS = (*schemas.OBJECT_COLUMNS, *schemas.COLUMNS_BY_PEOPLE, "author", "decision", "reviewer")
"""Columns of `objects` and `objects_by_models`: of `annotations`, those that people add, and the last decision."""

_IMAGE_KEY = [*FRAME_KEY, "content_hash"]
_EMPTY = pl.DataFrame(schemas.REVIEWS.arrow_schema.empty_table()).schema
_BY_PEOPLE = {name: pl.lit(None, _EMPTY[name]) for name in (*schemas.COLUMNS_BY_PEOPLE, "author")}

Tables = Callable[[str], pl.LazyFrame]
"""Gives the rows of a table or view by its name."""


def final_objects(table: Tables) -> pl.LazyFrame:
    """Return the objects that exports and scores read, in `COLUMNS`.

    On a frame that a person has reviewed, they are what that person left; on one with imported ground truth, that; on
    others, what `objects_by_models` has. A review of another image than the frame shows now does not count. Categories
    have the names that people have given them since.
    """
    reviewed = table(REVIEWED)
    reviews = table("reviews").filter(pl.col("decision").is_in(HUMAN))
    by_people = reviews.join(reviewed, on=_IMAGE_KEY, how="semi").select(COLUMNS)
    of_import = reviewed.select(*_IMAGE_KEY, source="reviewer")
    imported = imported_labels.objects(table).join(of_import, on=[*_IMAGE_KEY, "source"], how="semi")
    imported = _of_imports(imported, decision=pl.lit("approve"), reviewer=pl.col("source"))
    by_models = table(BY_MODELS).join(reviewed, on=FRAME_KEY, how="anti")
    return project_settings.renamed(pl.concat([by_people, imported, by_models]), table)


def objects_by_models(table: Tables) -> pl.LazyFrame:
    """Return what models found, in `COLUMNS`: the larger model where frames were routed to it, else the first one.

    That is without what a vision language model dropped, and under the categories that it gave. On a frame for which
    labels were imported, these stand in place of what models found.
    """
    now = ["input_id", *FRAME_KEY]
    columns = list(schemas.OBJECT_COLUMNS)
    labelled = imported_labels.frames(table).select(FRAME_KEY)
    of_model = ~pl.col("source").str.starts_with(imported_labels.PREFIX)
    found = table("annotations").filter(of_model).select(columns).join(labelled, on=FRAME_KEY, how="anti")
    for stage, route in _instead().items():
        routed = table("routing").filter(route=route)
        frames = table(f"annotated:{stage}").join(table("frames").select(now), on=now, how="semi")
        frames = frames.join(routed, on=FRAME_KEY, how="semi").select(FRAME_KEY)
        frames = frames.join(labelled, on=FRAME_KEY, how="anti")
        instead = table(f"annotations:{stage}").select(columns).join(frames, on=FRAME_KEY, how="semi")
        found = pl.concat([found.join(frames, on=FRAME_KEY, how="anti"), instead])
    verdicts = (
        table("escalated")
        .select("verdicts", reviewer="model")
        .explode("verdicts")
        .drop_nulls("verdicts")
        .with_columns(pl.col("verdicts").struct.unnest())
        .select("annotation_id", "reviewer", decision="verdict", other="category")
    )
    relabelled = pl.when(pl.col("decision") == "relabel").then(pl.col("other")).otherwise(pl.col("category"))
    by_models = (
        found.join(verdicts, on="annotation_id", how="left")
        .filter(pl.col("decision").ne_missing("drop"))
        .with_columns(category=relabelled, **_BY_PEOPLE)
        .select(COLUMNS)
    )
    nobody = pl.lit(None, pl.String)
    return pl.concat([by_models, _of_imports(imported_labels.objects(table), decision=nobody, reviewer=nobody)])


def _instead() -> dict[str, str]:
    """Return stages whose objects count in place of the first detector's, and the route that sends frames there."""
    # The declarations take as long to import as all else that a query needs, and few queries read objects.
    from conf.stages import STAGES

    return {spec.name: spec.model.route for spec in STAGES if spec.model and spec.model.route}


def _of_imports(rows: pl.LazyFrame, decision: pl.Expr, reviewer: pl.Expr) -> pl.LazyFrame:
    """Return rows of `imports` in `COLUMNS`."""
    nothing = pl.lit(None, pl.String)
    return rows.with_columns(decision=decision, reviewer=reviewer, author=nothing, weights_hash=nothing).select(COLUMNS)


def reviewed_frames(table: Tables) -> pl.LazyFrame:
    """Return the frames of which it is known what is on the image that they show now.

    That is, those that a person has reviewed, and those with imported ground truth: key, `content_hash` and `reviewer`,
    which is `import:NAME` where no person has.
    """
    shown = table("frames").select(_IMAGE_KEY)
    reviewed = table("reviews").filter(pl.col("decision") == "seen").select(*_IMAGE_KEY, "reviewer")
    reviewed = reviewed.join(shown, on=_IMAGE_KEY, how="semi")
    labelled = imported_labels.frames(table).filter(role=imported_labels.GROUND_TRUTH)
    labelled = labelled.join(reviewed, on=_IMAGE_KEY, how="anti").unique(_IMAGE_KEY)
    return pl.concat([reviewed, labelled.select(*_IMAGE_KEY, reviewer="source")])


VIEWS: Mapping[str, Callable[[Tables], pl.LazyFrame]] = {
    NAME: final_objects,
    BY_MODELS: objects_by_models,
    REVIEWED: reviewed_frames,
}
"""The views, by the names under which queries have them."""
