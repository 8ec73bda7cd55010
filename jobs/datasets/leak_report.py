"""Leaks between the splits of a dataset: distances in time, shared tracks and duplicates, objects per split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from jobs.core.errors import UserError
from transforms.core.intervals import place_in_intervals
from transforms.curate.splits import joined_keys
from transforms.curate.time_blocks import nearest_distance

NO_OBJECTS = pl.Schema({"row": pl.Int64(), "category": pl.String(), "track_id": pl.Int64()})
"""Columns of the objects that a report reads, for frames without any."""

_TRAIN = "train"
_SCENE = ("stream_id", "interval")


def leak_report(
    frames: pl.DataFrame,
    objects: pl.DataFrame,
    scenes: pl.DataFrame,
    continuous: Collection[str],
    fractions: Mapping[str, float],
) -> dict[str, Any]:
    """Return figures of each split against the one that models are trained on, as plain values.

    `frames`: one row per frame with `stream_id`, `frame_idx`, `content_hash`, `group_id` and `split`. `objects`: one
    row per object with `row` (position in `frames`), `category` and `track_id`. `scenes`: their `stream_id`,
    `start_idx` and `end_idx`, as far as they are known. `continuous`: streams whose frames follow one another; in
    others, numbers of frames are no distances. `fractions` names the splits, with their sizes.

    `against` is the split called `train`, or else the largest. For each other one: `distance` to its nearest frame of
    that split in the same scene, in frame numbers (`min`, `p05`, `median`; null where there is none), and
    `within_step`, the share of frames that are no farther from one than the usual distance of consecutive frames of
    their stream; `tracks` and `groups` (of duplicates, or of equal content) in it, and how many of them are in both;
    `leaking`: frames that are so near, or share a track or a group, and their share, 0..1. `classes` counts objects by
    category and split.
    """
    against = _TRAIN if _TRAIN in fractions else max(fractions, key=lambda name: fractions[name])
    rows = place_in_intervals(frames.with_row_index("row"), scenes).sort("row")
    rows = rows.with_columns(
        pl.col("row").cast(pl.Int64),
        pl.col("interval").fill_null(-1),
        position=pl.col("frame_idx"),
        step=pl.col("frame_idx").sort().diff().median().over("stream_id"),
    )
    shared = {"tracks": _tracks(rows, objects), "groups": _groups(rows)}
    trained = rows.filter(pl.col("split") == against)
    found = {}
    for name in fractions:
        if name == against:
            continue
        mine = rows.filter(pl.col("split") == name)
        leaking = set()
        timed = mine.filter(pl.col("stream_id").is_in(sorted(continuous)))
        distance = nearest_distance(timed, trained, _SCENE)
        near = (distance <= timed["step"]).fill_null(False)
        leaking |= set(timed.filter(near)["row"].to_list())
        counts = {}
        for what, links in shared.items():
            own = links.filter(pl.col("row").is_in(mine["row"].to_list()))
            theirs = links.filter(pl.col("row").is_in(trained["row"].to_list())).select("link").unique()
            both = own.join(theirs, on="link", how="semi")
            leaking |= set(both["row"].to_list())
            counts[what] = {"in_it": own["link"].n_unique(), "in_both": both["link"].n_unique()}
        found[name] = {
            "frames": mine.height,
            "distance": _quantiles(distance) | {"within_step": near.sum() / len(near) if len(near) else None},
            "without_distance": mine.height - distance.count(),
            **counts,
            "leaking": {"frames": len(leaking), "share": len(leaking) / mine.height if mine.height else 0.0},
        }
    return {"against": against, "of": found, "classes": _classes(rows, objects, fractions)}


def refuse_leaks(report: Mapping[str, Any], most: float) -> None:
    """Raise `UserError` for each split of which more than a share of the frames leak."""
    problems = []
    for name, found in report["of"].items():
        leaking = found["leaking"]
        if leaking["share"] <= most:
            continue
        within = found["distance"]["within_step"]
        causes = [f"{within:.0%} within one sampling step"] if within else []
        causes += [
            f"{found[what]['in_both']:,} {what} in both" for what in ("tracks", "groups") if found[what]["in_both"]
        ]
        problems.append(
            f"--max-leak {most:g}: {leaking['frames']:,} of {found['frames']:,} frames of {name} "
            f"({leaking['share']:.1%}) leak from {report['against']}: {', '.join(causes)}; what may help: --split-by "
            "time with a longer --guard, or --split-by track"
        )
    if problems:
        raise UserError(problems)


def _tracks(rows: pl.DataFrame, objects: pl.DataFrame) -> pl.DataFrame:
    """Return rows with each track on them: `row` and `link`."""
    named = objects.select("row", "track_id").drop_nulls().unique().join(rows.select("row", "stream_id"), on="row")
    return named.select("row", link=pl.concat_str("stream_id", pl.lit(" "), pl.col("track_id").cast(pl.String)))


def _groups(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows that have duplicates, by group or by content, among the others: `row` and `link`."""
    named = rows.select("content_hash", unit=pl.coalesce(pl.col("group_id").cast(pl.String), "content_hash")).to_arrow()
    keys = joined_keys(named["unit"].cast(pa.string()), named["content_hash"])
    links = rows.select("row", link=pl.Series(keys.to_pylist(), dtype=pl.String))
    return links.filter(pl.len().over("link") > 1)


def _classes(rows: pl.DataFrame, objects: pl.DataFrame, splits: Collection[str]) -> dict[str, dict[str, int]]:
    """Return the number of objects by category and split."""
    counted = objects.select("row", "category").join(rows.select("row", "split"), on="row")
    found: dict[str, dict[str, int]] = {}
    for category, split, n in counted.group_by("category", "split").len().sort("category").iter_rows():
        found.setdefault(category, dict.fromkeys(splits, 0))[split] = n
    return found


def _quantiles(distance: pl.Series) -> dict[str, float | None]:
    values = distance.drop_nulls()
    if not len(values):
        return {"min": None, "p05": None, "median": None}
    return {
        "min": float(values.min()),  # type: ignore[arg-type]
        "p05": values.quantile(0.05, "lower"),
        "median": values.quantile(0.5, "lower"),
    }
