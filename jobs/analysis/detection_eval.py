"""Evaluation of annotations, or of a COCO results file, against ground truth: `winnow evaluate detections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import schemas
from jobs.analysis import charts
from jobs.analysis.coco_input import read_detections, read_ground_truth
from jobs.analysis.pages import render_page
from jobs.core.choices import IouType
from jobs.core.errors import UserError
from jobs.core.optional_packages import require
from jobs.core.plain_values import finite
from jobs.datasets.export_objects import are_known
from jobs.views import final_objects, imported_labels
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.assess.detection_scores import Scores, score
from transforms.formats.reviewing.shapes import HASH_DIGITS, parse_name
from transforms.frames.clip import KEY_PATTERN

_SHOWN = 3
_MOST_CLASSES = 40


@dataclass(frozen=True)
class Matching:
    """Which images of the ground truth could be matched with frames.

    `missing` images are no frame, `ambiguous` ones could be several, and `unseen` ones are frames that were not
    annotated; these are not scored. `foreign`: detected categories that are not in the ground truth.
    `unreviewed`: objects of the ground truth that a model of this workspace found, and no person has reviewed.
    """

    missing: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    unreviewed: int = 0


@dataclass(frozen=True)
class DetectionResult:
    """The scores, the number of images, and what was not scored."""

    scores: Scores
    categories: list[str]
    n_images: int
    n_truth: int
    n_found: int
    min_score: float
    matching: Matching

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, COCO's metrics first; NaN becomes None."""
        per_class = [vars(c) for c in self.scores.classes if c.n_truth or c.n_found]
        plain: dict[str, Any] = {
            **self.scores.metrics,
            "images": self.n_images,
            "truth": self.n_truth,
            "detections": self.n_found,
            "min_score": self.min_score,
            "classes": per_class,
            "calibration": [
                {"n": int(n), "score": mean, "precision": share} for n, mean, share in self.scores.calibration.tolist()
            ],
            **vars(self.matching),
        }
        return finite(plain)


def evaluate_files(truth: Path, detections: Path, kind: IouType, min_score: float) -> DetectionResult:
    """Score a COCO results file. Raises `UserError` with all problems of both files."""
    require("annotate", "pycocotools")
    document = read_ground_truth(truth, kind)
    return _result(document, read_detections(detections, document, kind), kind, min_score, Matching())


def evaluate_view(view: View, truth: Path, kind: IouType, min_score: float, as_found: bool = False) -> DetectionResult:
    """Score the annotations of a view: after reviews, or `as_found` by the models.

    Raises `UserError` if they cannot be compared with the ground truth.
    """
    require("annotate", "pycocotools")
    document = read_ground_truth(truth, kind)
    if not are_known(view):
        raise UserError("there are no annotations; make some with `winnow run --profile annotate`")
    images, matching = _match(view, document)
    matching = replace(matching, unreviewed=_unreviewed(view, document))
    rows = _annotations(view, images, kind, schemas.ANNOTATIONS.name if as_found else final_objects.NAME)
    ids = _category_ids([c["name"] for c in document["categories"]], rows["category"].unique().to_list())
    ids = {name: document["categories"][at]["id"] for name, at in ids.items()}
    known = pl.Series([name in ids for name in rows["category"].to_list()], dtype=pl.Boolean)
    matching.foreign.extend(sorted(rows.filter(~known)["category"].unique().to_list()))
    if rows.height and not known.any():
        raise UserError(
            f"no detected category ({', '.join(matching.foreign[:_SHOWN])}, …) is in the ground truth "
            f"({', '.join(c['name'] for c in document['categories'][:_SHOWN])}, …); give them equal names with "
            "annotate.names"
        )
    found = [_found(row, ids, kind) for row in rows.filter(known).iter_rows(named=True)]
    seen = set(images["image_id"].to_list())
    scored = {
        **document,
        "images": [i for i in document["images"] if i["id"] in seen],
        "annotations": [a for a in document["annotations"] if a["image_id"] in seen],
    }
    return _result(scored, found, kind, min_score, matching)


def _unreviewed(view: View, truth: Mapping[str, Any]) -> int:
    """Return how many objects of the ground truth a model of this workspace found, and no person has reviewed.

    Exports of Winnow have the id of each object.
    """
    ids = [str(each["winnow_id"]) for each in truth["annotations"] if "winnow_id" in each]
    exported = pl.LazyFrame({"annotation_id": ids}, schema={"annotation_id": pl.String}).unique()
    shown = view.lazy(final_objects.NAME).filter(~pl.col("decision").is_in(final_objects.HUMAN).fill_null(False))
    return exported.join(shown.select("annotation_id"), on="annotation_id", how="semi").collect().height


def _category_ids(truth: Sequence[str], found: Sequence[str]) -> dict[str, int]:
    """Return for each detected category the position of that category in the ground truth; none for unknown ones.

    Equal names come first. A name that differs in case or spaces at its ends is taken for another one only if that is
    the only one like it, and is not itself detected.
    """
    exact = {name: at for at, name in enumerate(truth)}
    folded: dict[str, list[int]] = {}
    for at, name in enumerate(truth):
        folded.setdefault(name.strip().casefold(), []).append(at)
    ids = {name: exact[name] for name in found if name in exact}
    taken = set(ids.values())
    for name in found:
        like = folded.get(name.strip().casefold(), [])
        if name not in exact and len(like) == 1 and like[0] not in taken:
            ids[name] = like[0]
    return ids


def _result(
    truth: Mapping[str, Any], found: list[dict[str, Any]], kind: IouType, min_score: float, matching: Matching
) -> DetectionResult:
    categories = [c["name"] for c in sorted(truth["categories"], key=lambda c: c["id"])]
    scores = score(truth, found, kind, min_score)
    n_images, n_truth = len(truth["images"]), len(truth["annotations"])
    return DetectionResult(scores, categories, n_images, n_truth, len(found), min_score, matching)


def _match(view: View, truth: Mapping[str, Any]) -> tuple[pl.DataFrame, Matching]:
    """Return the annotated frames that are images of the ground truth, with `image_id`, and what was not matched."""
    frames_of = [view.lazy("annotated"), view.lazy(final_objects.REVIEWED), imported_labels.frames(view.lazy)]
    annotated = pl.concat([rows.select(FRAME_KEY) for rows in frames_of]).unique().with_columns(seen=pl.lit(True))
    columns = [*FRAME_KEY, "uri", "width", "height", "content_hash"]
    frames = view.lazy("frames").select(columns).join(annotated, on=FRAME_KEY, how="left")
    names = pl.DataFrame(
        {
            "image_id": pl.Series([str(i["id"]) for i in truth["images"]], dtype=pl.String),
            "at": pl.int_range(len(truth["images"]), eager=True),
            "file_name": [i["file_name"].replace("\\", "/") for i in truth["images"]],
            "stream_id": pl.Series([i.get("stream_id") for i in truth["images"]], dtype=pl.String, strict=False),
            "frame_idx": pl.Series([i.get("frame_idx") for i in truth["images"]], dtype=pl.Int64, strict=False),
            "truth_width": pl.Series([i.get("width") for i in truth["images"]], dtype=pl.Int64, strict=False),
            "truth_height": pl.Series([i.get("height") for i in truth["images"]], dtype=pl.Int64, strict=False),
        }
    ).drop("image_id")
    everything = frames.collect()
    # Exports of Winnow have stream and number of each image.
    exported = names.drop_nulls(FRAME_KEY).join(everything, on=FRAME_KEY).drop("content_hash")
    sent = _sent_for_review(names.join(exported, on="at", how="anti").drop(FRAME_KEY), everything)
    exported = pl.concat([exported, sent.select(exported.columns)])
    everything = everything.drop("content_hash")
    others = names.join(exported, on="at", how="anti").drop(FRAME_KEY)
    last = pl.col("file_name").str.extract(r"([^/]+)$")
    by_name = everything.filter(~pl.col("uri").str.contains(KEY_PATTERN)).with_columns(
        base=pl.col("uri").str.replace_all("\\", "/", literal=True).str.extract(r"([^/]+)$")
    )
    near = others.with_columns(base=last).join(by_name, on="base").drop("base")
    # Folders in a file name distinguish frames of the same name.
    whole = near.with_columns(
        exact=pl.concat_str(pl.lit("/"), "uri").str.ends_with(pl.concat_str(pl.lit("/"), pl.col("file_name")))
    )
    whole = whole.filter(pl.col("exact") | ~pl.col("exact").any().over("at")).drop("exact")
    both = pl.concat([exported.select(sorted(exported.columns)), whole.select(sorted(exported.columns))])
    single = both.filter(pl.len().over("at") == 1)
    several = both.filter(pl.len().over("at") > 1)
    _refuse_sizes(single)
    known = single.filter(pl.col("seen").is_not_null())
    matching = Matching(
        names.join(both, on="at", how="anti")["file_name"].to_list(),
        sorted(several["file_name"].unique().to_list()),
        sorted(single.filter(pl.col("seen").is_null())["file_name"].to_list()),
    )
    if not known.height:
        raise UserError(
            f"none of the {names.height} images of the ground truth is an annotated frame: {len(matching.missing)} "
            f"are no frame of the workspace, {len(matching.ambiguous)} could be several, {len(matching.unseen)} were "
            "not annotated (annotate.frames=all annotates those that are not kept, too)"
        )
    ids = [truth["images"][at]["id"] for at in known["at"].to_list()]
    return known.select(FRAME_KEY).with_columns(image_id=pl.Series(ids, dtype=pl.Object)), matching


def _sent_for_review(names: pl.DataFrame, frames: pl.DataFrame) -> pl.DataFrame:
    """Return the images whose names are those that exports for annotation tools give to frames, with these frames.

    Folders before the name are ignored, since tools change them; content that several frames have is not matched.
    """
    parsed = [parse_name(name) for name in names["file_name"].to_list()]
    sent = names.with_columns(
        pl.Series("frame_idx", [name.number if name else None for name in parsed], dtype=pl.Int64),
        pl.Series("digits", [name.hash if name else None for name in parsed], dtype=pl.String),
    )
    known = frames.with_columns(digits=pl.col("content_hash").str.head(HASH_DIGITS))
    found = sent.drop_nulls("digits").join(known, on=["frame_idx", "digits"])
    return found.filter(pl.len().over("at") == 1)


def _refuse_sizes(matched: pl.DataFrame) -> None:
    other = matched.filter(
        (pl.col("truth_width") != pl.col("width")) | (pl.col("truth_height") != pl.col("height"))
    ).sort("at")
    problems = [
        f"{row['file_name']} is {row['truth_width']}x{row['truth_height']} in the ground truth, but "
        f"{row['width']}x{row['height']} in the workspace; boxes cannot be compared"
        for row in other.head(_SHOWN).iter_rows(named=True)
    ]
    if other.height > _SHOWN:
        problems.append(f"… and {other.height - _SHOWN} more images of another size")
    if problems:
        raise UserError(problems)


def _annotations(view: View, images: pl.DataFrame, kind: IouType, table: str) -> pl.DataFrame:
    names = ["annotation_id", *FRAME_KEY, "category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h", "mask_rle"]
    found = view.lazy(table).select(*names, "source")
    if table == schemas.ANNOTATIONS.name:
        # What was imported is no finding of a model.
        found = found.filter(~pl.col("source").str.starts_with(imported_labels.PREFIX))
    rows = found.drop("source").collect()
    if kind == "segm":
        rows = rows.filter(pl.col("mask_rle").is_not_null())
    sizes = view.lazy("frames").select(*FRAME_KEY, "width", "height").collect()
    wanted = images.select(FRAME_KEY).with_columns(at=pl.int_range(images.height)).join(sizes, on=FRAME_KEY)
    ids = images["image_id"].to_list()
    # A fixed order, independent of the table's files, since objects of equal scores are matched in order.
    rows = rows.join(wanted, on=FRAME_KEY).sort("at", "annotation_id")
    return rows.with_columns(image_id=pl.Series([ids[at] for at in rows["at"].to_list()], dtype=pl.Object))


def _found(row: Mapping[str, Any], ids: Mapping[str, Any], kind: IouType) -> dict[str, Any]:
    found = {
        "image_id": row["image_id"],
        "category_id": ids[row["category"]],
        "bbox": [row["bbox_x"], row["bbox_y"], row["bbox_w"], row["bbox_h"]],
        "score": row["score"],
    }
    if kind == "segm":
        found["segmentation"] = {"size": [row["height"], row["width"]], "counts": row["mask_rle"]}
        del found["bbox"]
    return found


def page(found: DetectionResult, title: str, truth: str) -> str:
    """Return the results as an HTML page with plots."""
    scores = found.scores
    spans = scores.calibration
    there = spans[:, 0] > 0
    return render_page(
        "detections.html.j2",
        title=title,
        truth=truth,
        found=found,
        classes=[c for c in scores.classes if c.n_truth or c.n_found],
        charts=[
            charts.curves(
                [(scores.recalls, curve) for curve in scores.curves],
                "precision at overlaps of 0.5 and 0.75",
                "recall",
                (0, 1),
            ),
            charts.curves(
                [(spans[there, 1], spans[there, 2]), (np.array([0.0, 1.0]), np.array([0.0, 1.0]))],
                "precision by score (calibration)",
                "score",
                (0, 1),
            ),
        ],
        confusion=_confusion_chart(found),
    )


def _confusion_chart(found: DetectionResult) -> Any:
    """Draw the categories that occur, the most frequent ones if there are many."""
    table = found.scores.confusion
    n = table[:-1].sum(axis=1) + table[:, :-1].sum(axis=0)
    chosen = np.sort(np.argsort(-n, kind="stable")[: min(_MOST_CLASSES, int((n > 0).sum()))])
    at = np.append(chosen, len(table) - 1)
    names = [*(found.categories[i] for i in chosen), "background"]
    title = "Objects by their category in the ground truth and as detected; background: there is no such object."
    return charts.matrix(table[np.ix_(at, at)], names, title, "ground truth", "detected")


def left_out(matching: Matching) -> list[str]:
    """Return a message for every kind of thing that was not scored."""
    kinds = (
        (matching.missing, "images of the ground truth are no frames of the workspace"),
        (matching.ambiguous, "images of the ground truth could be several frames; give their folders in file_name"),
        (matching.unseen, "images of the ground truth were not annotated (annotate.frames=all annotates all)"),
        (matching.foreign, "detected categories are not in the ground truth"),
    )
    return [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
        for names, what in kinds
        if names
    ]
