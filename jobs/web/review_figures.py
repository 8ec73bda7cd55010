"""How often people overrule the models, by category and by score."""

from __future__ import annotations

from typing import Any

import polars as pl

import schemas
from jobs.views import final_objects
from jobs.views.project_settings import ProjectSettings
from jobs.web.project_data import Shown

_BINS = 10
_DECISIONS = {"approve": "kept", "correct": "corrected", "reject": "deleted", "add": "added"}
_OF = (schemas.REVIEWS, schemas.ANNOTATIONS, schemas.FRAMES, schemas.IMPORTS, schemas.PROJECT_SETTINGS, schemas.HEADS)


def categories_against_people(shown: Shown, settings: ProjectSettings) -> list[dict[str, Any]]:
    """Return for each category what people decided on its objects, on the frames that show what was reviewed.

    `kept`, `corrected` and `deleted` are of objects that models found, by the category that the models gave; `added`
    ones the models missed. `precision`: the share of found objects that people kept or corrected. `by_score` has ten
    intervals of the models' scores, with how many objects people `kept` and how many they `overruled`.
    """
    return shown.frames.held("review categories", _OF, lambda: _categories(shown, settings))


def _categories(shown: Shown, settings: ProjectSettings) -> list[dict[str, Any]]:
    images = [*schemas.FRAME_KEY, "content_hash"]
    now = shown.view.lazy(schemas.FRAMES.name).select(images)
    reviews = shown.view.lazy(schemas.REVIEWS.name).join(now, on=images, how="semi")
    reviews = reviews.filter(pl.col("decision").is_in(list(_DECISIONS)))
    found = shown.view.lazy(final_objects.BY_MODELS).select("annotation_id", found="category", found_score="score")
    rows = (
        reviews.select("annotation_id", "decision", "category")
        .join(found, on="annotation_id", how="left")
        .with_columns(name=pl.coalesce("found", "category").replace(dict(settings.became)))
        .with_columns(bin=(pl.col("found_score") * _BINS).floor().clip(0, _BINS - 1).cast(pl.Int64))
        .with_columns(
            is_overruled=(pl.col("decision") == "reject")
            | ((pl.col("decision") == "correct") & (pl.col("category") != pl.col("found")))
        )
    )
    counted = rows.group_by("name", "decision").len().collect()
    by_score = rows.drop_nulls("bin").group_by("name", "bin", "is_overruled").len().collect()
    tables: dict[str, dict[str, int]] = {}
    for name, decision, n in counted.iter_rows():
        tables.setdefault(name, dict.fromkeys(_DECISIONS.values(), 0))[_DECISIONS[decision]] += n
    bins: dict[str, list[dict[str, Any]]] = {
        name: [{"low": at / _BINS, "kept": 0, "overruled": 0} for at in range(_BINS)] for name in tables
    }
    for name, at, is_overruled, n in by_score.iter_rows():
        bins[name][at]["overruled" if is_overruled else "kept"] += n
    result = []
    for name, counts in sorted(tables.items()):
        right, wrong = counts["kept"] + counts["corrected"], counts["deleted"]
        precision = round(right / (right + wrong), 4) if right + wrong else None
        result.append({"category": name, **counts, "precision": precision, "by_score": bins[name]})
    return result
