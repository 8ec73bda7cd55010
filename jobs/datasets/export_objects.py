"""Objects of an export, and the models that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from conf.model_catalogue import restriction_of
from conf.stages import STAGES
from jobs.core.errors import UserError
from jobs.models.weights_store import Licence, licence_of
from jobs.views import final_objects, imported_labels
from jobs.views.categories import categories_of, params_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.exports.objects import Objects


def are_known(view: View) -> bool:
    """Say whether a view shows annotations at all, be they none: of models, drawn by people, or imported."""
    by_models = any(table.written_by in view.selection.keys for table in schemas.OBJECTS_OF.values())
    return by_models or any(view.lazy(name).head(1).collect().height for name in ("reviews", schemas.IMPORTS.name))


def objects_of(view: View, frames: pa.Table, min_score: float | None) -> Objects:
    """Return the objects that a view shows on frames, with scores from `min_score` on.

    Their labels are numbered over all categories that the workspace had at the time, exported or not.
    """
    if not are_known(view):
        return Objects.none()
    there = view.lazy(final_objects.NAME)
    if min_score is not None:
        # What a person has confirmed is certain, regardless of the score of the model.
        there = there.filter(
            (pl.col("score") >= min_score) | pl.col("decision").is_in(final_objects.HUMAN).fill_null(False)
        )
    wanted = pl.DataFrame(frames.select(FRAME_KEY)).lazy()
    rows = there.join(wanted, on=FRAME_KEY, how="semi").collect().to_arrow()
    return Objects.on(frames, rows, categories_of(view))


def refuse_without_masks(objects: Objects, format_: str) -> None:
    """Raise `UserError` if there are objects, and all of them are upright boxes without a mask."""
    n = objects.rows.num_rows
    if n and all(objects.rows[name].null_count == n for name in ("mask_rle", "rotation")):
        raise UserError(f"format {format_}: expected masks, found boxes alone; export them with --format yolo")


def models_of(view: View, frames: pa.Table, objects: Objects) -> list[dict[str, Any]]:
    """Return what had a part in the objects exported, or in there being none, with licences.

    First the models that found or segmented them, then others that processed the frames, then those that reviewed them.
    """
    finders = _object_models(view, objects)
    return [*finders, *_annotating_models(view, frames, finders), *_reviewing_models(view, frames)]


def _annotating_models(view: View, frames: pa.Table, named: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the models whose stages have rows of these frames, those left out that are `named` already."""
    wanted = pl.DataFrame(frames.select(FRAME_KEY)).lazy()
    weights, sources = ({each[name] for each in named} for name in ("weights_hash", "source"))
    for spec in sorted(STAGES, key=lambda spec: spec.model.credit if spec.model else 0):
        if spec.model is None or spec.name not in view.selection.keys:
            continue
        stage, section = spec.name, spec.model.section
        rows = view.lazy(f"{spec.table.name}:{stage}").join(wanted, on=FRAME_KEY, how="semi")
        for key, n in rows.group_by("stage_key").len().sort("stage_key").collect().iter_rows():
            params = next(params_of(view, stage, key), {})
            digest, source = params.get(f"{section}.weights_hash"), params.get(f"{section}.detector", stage)
            if digest in weights if digest else source in sources:
                continue
            weights.add(digest)
            sources.add(source)
            # Null where it never found anything.
            stored = schemas.OBJECTS_OF.get(spec.table.name, spec.table)
            rows = view.lazy(f"{stored.name}_all").filter(stage_key=key)
            names = rows.select(spec.model.name_column).head(1).collect()
            named_ = {"source": source, "model": names.item() if names.height else None, "weights_hash": digest}
            yield named_ | {"frames": n} | _licence(digest, {digest or "": params.get(f"{section}.licence")})


def _object_models(view: View, objects: Objects) -> list[dict[str, Any]]:
    """Return what found, and cut out, exported objects: source, model, weights with their licence, how many."""
    if not objects.rows.num_rows:
        return []
    columns = ["source", "model", "weights_hash"]
    exported = pl.DataFrame(objects.rows.select(["annotation_id", *columns]))
    counted = exported.group_by(columns).len("objects").sort(columns)
    masks = view.lazy("masks").join(exported.lazy().select("annotation_id"), on="annotation_id", how="semi")
    cut_out = masks.group_by(columns).agg(pl.len().alias("masks")).sort(columns).collect()
    said = dict(_licences_in(view))
    return [row | _licence(row["weights_hash"], said) for row in (*counted.to_dicts(), *cut_out.to_dicts())]


def _reviewing_models(view: View, frames: pa.Table) -> list[dict[str, Any]]:
    """Return the vision language models whose verdicts count on frames: which, under what terms, what they did.

    Where a person has reviewed a frame, only that person's decision counts.
    """
    wanted = pl.DataFrame(frames.select(FRAME_KEY)).lazy()
    said = view.lazy("escalated").select(*FRAME_KEY, "model", "verdicts").join(wanted, on=FRAME_KEY, how="semi")
    answers = said.join(view.lazy(final_objects.REVIEWED), on=FRAME_KEY, how="anti").collect()
    if not answers.height:
        return []
    verdicts = answers.explode("verdicts").with_columns(said=pl.col("verdicts").struct.field("verdict"))
    does = {"keep": "kept", "relabel": "relabelled", "drop": "dropped"}
    counts = [(pl.col("said") == verdict).sum().alias(name) for verdict, name in does.items()]
    frames_of = answers.group_by("model").len("frames")
    judged = frames_of.join(verdicts.group_by("model").agg(counts), on="model").sort("model")
    asked_by = [(spec.name, spec.calls.section) for spec in STAGES if spec.calls]
    known = {
        params.get(f"{section}.model"): (stage, params.get(f"{section}.api"), params.get(f"{section}.licence"))
        for stage, section in asked_by
        for params in params_of(view, stage)
    }
    found = []
    for row in judged.to_dicts():
        stage, api, licence = known.get(row["model"], (asked_by[0][0], None, None))
        terms = {"licence": licence, "restriction": restriction_of(licence)}
        found.append({"source": stage, "api": api} | row | terms)
    return found


def review_counts(view: View, frames: pa.Table) -> dict[str, int]:
    """Return how many of some frames a person has reviewed, and how many neither a person nor a detector has.

    Imported ground truth counts as reviewed, and imported suggestions as found by a detector.

    Frames that no detector was run on, but to which objects were carried, are counted apart: whether there is more on
    them is not known.
    """
    wanted = pl.DataFrame(frames.select(FRAME_KEY)).lazy()
    people = view.lazy(final_objects.REVIEWED).select(FRAME_KEY).join(wanted, on=FRAME_KEY, how="semi").collect()
    models = view.lazy("annotated").select(FRAME_KEY).join(wanted, on=FRAME_KEY, how="semi").collect()
    labelled = imported_labels.frames(view.lazy).select(FRAME_KEY).join(wanted, on=FRAME_KEY, how="semi").collect()
    seen = pl.concat([people, models, labelled]).unique()
    carried = view.lazy("propagated").filter(pl.col("n_propagated") > 0).select(FRAME_KEY)
    carried_to = carried.join(wanted, on=FRAME_KEY, how="semi").collect().join(seen, on=FRAME_KEY, how="anti")
    counts = {"reviewed": people.height, "not_annotated": frames.num_rows - seen.height - carried_to.height}
    return counts | ({"propagated": carried_to.height} if carried_to.height else {})


def nested(frames: pa.Table, objects: Objects) -> pa.Table:
    """Return frames with a column `annotations`: a list of what is on each, empty for nothing."""
    left_out = {"row", *FRAME_KEY}
    names = [n for n in objects.rows.column_names if n not in left_out]
    listed = [[{name: each[name] for name in names} for each in objects.of(row)] for row in range(frames.num_rows)]
    kind = pa.list_(pa.struct([objects.rows.schema.field(n) for n in names]))
    return frames.append_column("annotations", pa.array(listed, kind))


def _licence(sha256: str | None, said: Mapping[str, str | None]) -> dict[str, str | None]:
    found = licence_of(sha256, said.get(sha256)) if sha256 else Licence()
    return {"licence": found.name, "restriction": found.restriction}


def _licences_in(view: View) -> Iterator[tuple[str, str | None]]:
    """Yield the licence that each file of weights names itself, by its hash."""
    for spec in sorted(STAGES, key=lambda spec: spec.name):
        if spec.model is None or not spec.model.is_final:
            continue
        # Those of another detector are called as those of the first one are.
        for params in params_of(view, spec.name):
            if digest := params.get(f"{spec.model.section}.weights_hash"):
                yield digest, params.get(f"{spec.model.section}.licence")
