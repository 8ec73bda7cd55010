"""Evaluation of curation against ground-truth labels, with suggested thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import schemas
from jobs.analysis import charts
from jobs.analysis.labels import FLAGS, Labels
from jobs.analysis.pages import render_page
from jobs.analysis.threshold_search import Suggested, configured, suggest_duplicates, suggest_idle
from jobs.core.errors import UserError
from jobs.core.plain_values import finite
from jobs.views.view import View
from transforms.assess import curation_scores
from transforms.assess.curation_scores import Curve
from transforms.curate.duplicates.grouping import MARKED, DuplicateParams
from transforms.curate.idle import IdleParams
from transforms.metrics.hashing import from_hex, layout_array

_SCORES = {
    "blurry": ("sharpness", -1),
    "dark": ("luma_mean", -1),
    "overexposed": ("luma_mean", 1),
    "low_information": ("entropy", -1),
}
"""The measure of each flag, and whether high (1) or low (-1) values mean it."""

_WIDEST = 20
_UNKNOWN = curation_scores.Agreement(math.nan, math.nan)


@dataclass(frozen=True)
class FlagResult:
    """Scores of a flag: ROC AUC of its measure, precision and recall of the decision, and the best threshold by F1."""

    flag: str
    measure: str
    n_positive: int
    n_negative: int
    auc: float
    precision: float
    recall: float
    suggested: float
    suggested_precision: float
    suggested_recall: float
    curve: Curve | None


@dataclass(frozen=True)
class Evaluation:
    """All results; lists are empty for kinds without labels.

    `distances` has a row per Hamming distance: precision and recall of predicting pairs up to it as duplicates, and the
    same with the verification of the run (layouts that correlate by at least `duplicates.agreement`, or differ in a
    corner only). `groups` are these scores for pairs that share a group. `idle` has a row per labelled stream.
    `thresholds` has a row for each parameter of duplicates and idle intervals for which the labels suggest a value.
    """

    flags: list[FlagResult]
    distances: list[dict[str, Any]]
    groups: dict[str, Any] | None
    idle: list[dict[str, Any]]
    thresholds: list[Suggested] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN becomes None."""
        flags = [{k: v for k, v in vars(f).items() if k != "curve"} for f in self.flags]
        plain = {"flags": flags, "distances": self.distances, "groups": self.groups, "idle": self.idle}
        return finite(plain | {"thresholds": self.thresholds})


def evaluate(view: View, labels: Labels) -> Evaluation:
    """Compare a view with labels. Raises `UserError` if labelled frames are missing in the view."""
    _refuse_unknown(view, labels)
    flags = [found for flag in FLAGS if (found := _flag(view, labels, flag)) is not None]
    distances, groups, thresholds = _pairs(view, labels)
    thresholds += suggest_idle(view, labels.idle, configured(view, IdleParams(), "idle"))
    return Evaluation(flags, distances, groups, _idle(view, labels), thresholds)


def page(found: Evaluation, title: str, labels: str) -> str:
    """Return the results as an HTML page with plots."""
    distances = np.array([[row["hamming"], row["precision"], row["recall"]] for row in found.distances]).T
    return render_page(
        "evaluation.html.j2",
        title=title,
        labels=labels,
        found=found,
        curves=[
            charts.curves(
                [(f.curve.false_rate, f.curve.true_rate)], f"{f.flag}: true over false positives", "false", (0, 1)
            )
            for f in found.flags
            if f.curve is not None
        ],
        distances=charts.curves(
            [(distances[0], distances[2]), (distances[0], distances[1])],
            "recall, and dashed precision",
            "Hamming distance",
            (0, _WIDEST),
        )
        if found.distances
        else "",
    )


def _refuse_unknown(view: View, labels: Labels) -> None:
    known = view.lazy("frames").select(schemas.FRAME_KEY).collect()
    sides = [labels.pairs.select(stream_id=f"stream_id_{s}", frame_idx=f"frame_idx_{s}") for s in ("a", "b")]
    wanted = pl.concat([labels.frames.select(schemas.FRAME_KEY), *sides]).unique(maintain_order=True)
    missing = wanted.join(known, on=schemas.FRAME_KEY, how="anti")
    problems = []
    if missing.height:
        stream, index = missing.row(0)
        problems.append(f"{missing.height} labelled frames are not in the workspace, such as {stream} {index}")
    streams = labels.idle["stream_id"].unique().to_list()
    problems += [
        f"labelled stream {name!r} is not in the workspace"
        for name in sorted(streams)
        if name not in view.selection.streams
    ]
    if problems:
        raise UserError(problems)


def _flag(view: View, labels: Labels, flag: str) -> FlagResult | None:
    measure, sign = _SCORES[flag]
    labelled = labels.frames.filter(pl.col(flag).is_not_null()).select(*schemas.FRAME_KEY, label=flag)
    if not labelled.height:
        return None
    shown = view.lazy("curated").select(*schemas.FRAME_KEY, measure, called=pl.col("reasons").list.contains(flag))
    rows = labelled.join(shown.collect(), on=schemas.FRAME_KEY, how="inner").drop_nulls()
    truth, called = rows["label"].to_numpy(), rows["called"].to_numpy()
    scores = sign * rows[measure].cast(pl.Float64).to_numpy()
    verdict = curation_scores.agreement(called, truth)
    both = bool(truth.any() and not truth.all())
    best = curation_scores.best_threshold(scores, truth) if both else None
    return FlagResult(
        flag,
        measure,
        int(truth.sum()),
        int((~truth).sum()),
        curation_scores.roc_auc(scores, truth),
        verdict.precision,
        verdict.recall,
        sign * best.threshold if best else math.nan,
        best.agreement.precision if best else math.nan,
        best.agreement.recall if best else math.nan,
        curation_scores.roc_curve(scores, truth) if both else None,
    )


def _pairs(view: View, labels: Labels) -> tuple[list[dict[str, Any]], dict[str, Any] | None, list[Suggested]]:
    from transforms.curate.duplicates.hamming import agreements, alike_but_for_a_corner

    if not labels.pairs.height:
        return [], None, []
    grouped = view.lazy("duplicates").select(*schemas.FRAME_KEY, "group_id")
    shown = view.lazy("fingerprints").select(*schemas.FRAME_KEY, "phash", "layout")
    known = shown.join(grouped, on=schemas.FRAME_KEY, how="left").collect()
    rows = labels.pairs
    for side in ("a", "b"):
        of_side = known.select(pl.all().name.suffix(f"_{side}"))
        rows = rows.join(of_side, on=[f"stream_id_{side}", f"frame_idx_{side}"], how="inner")
    rows = rows.drop_nulls(["phash_a", "phash_b"])
    truth = rows["duplicate"].to_numpy()
    distance = np.bitwise_count(from_hex(rows["phash_a"].to_arrow()) ^ from_hex(rows["phash_b"].to_arrow()))
    asked = configured(view, DuplicateParams(), "duplicates")
    params = [asked.get(stream, DuplicateParams()) for stream in rows["stream_id_a"]]
    looks = _layouts(rows) if all(p.uses == "layout" for p in params) else None
    agreed = verified = marked = None
    if looks is not None:
        agreed = agreements(looks, *_sides(len(rows)))
        least = np.array([p.agreement for p in params], np.float32)
        verified = agreed >= least
        marked = alike_but_for_a_corner(looks, *_sides(len(rows)), float(least.max(initial=0)))
    table: list[dict[str, Any]] = []
    for d in range(_WIDEST + 1):
        table.append({"hamming": d, **curation_scores.agreement(distance <= d, truth)._asdict()})
        checked = _UNKNOWN
        if verified is not None and marked is not None:
            grouped_at = ((distance <= d) & verified) | ((distance <= MARKED * d) & marked)
            checked = curation_scores.agreement(grouped_at, truth)
        table[-1] |= {f"verified_{name}": value for name, value in checked._asdict().items()}
    same = (rows["group_id_a"] == rows["group_id_b"]).fill_null(False).to_numpy()
    groups = {"n_duplicate": int(truth.sum()), "n_different": int((~truth).sum())}
    suggested = []
    if params and all(p.uses != "vector" for p in params):
        suggested = suggest_duplicates(distance.astype(np.int64), agreed, marked, truth, params[0])
    return table, groups | curation_scores.agreement(same, truth)._asdict(), suggested


def _sides(n: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.arange(n), np.arange(n, 2 * n)


def _layouts(pairs: pl.DataFrame) -> npt.NDArray[np.uint8] | None:
    """Return the layouts of N pairs, all first frames before all second ones, shape (2N, 64), uint8.

    None if some frames were measured by a version without layouts.
    """
    if any(pairs[f"layout_{side}"].null_count() for side in ("a", "b")):
        return None
    sides = [layout_array(pairs.select(f"layout_{side}").to_arrow()[f"layout_{side}"]) for side in ("a", "b")]
    return np.concatenate(sides)


def _idle(view: View, labels: Labels) -> list[dict[str, Any]]:
    found = view.lazy("idle").select("stream_id", "start_idx", "end_idx").collect()
    results = []
    for (stream,), rows in labels.idle.sort("stream_id").group_by("stream_id", maintain_order=True):
        truth = rows.drop_nulls().select("start_idx", "end_idx").rows()
        mine = found.filter(stream_id=stream).select("start_idx", "end_idx").rows()
        results.append({"stream_id": stream, **curation_scores.compare_intervals(mine, truth)._asdict()})
    return results
