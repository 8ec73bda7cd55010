"""Splits of the frames of an export without leaks: by units, by time, and by earlier exports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.choices import SplitBy
from jobs.core.errors import UserError
from jobs.core.naming import many
from jobs.datasets.given_splits import by_content, frames_given_elsewhere, groups_given_elsewhere
from jobs.datasets.kept_apart import kept_apart, left_out
from jobs.datasets.split_units import BY_TIME, BY_TRACK, Division, divisions, track_keys, unit_keys
from jobs.views import final_objects
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.curate.splits import assign_splits, block_places, splits_at
from transforms.curate.time_blocks import LEAST_GUARD_STEPS, Length, default_block
from transforms.curate.track_blocks import joined_by_tracks

_IMAGE_KEY = [*FRAME_KEY, "content_hash"]
_APART = pl.col("split_by").is_in([BY_TIME, BY_TRACK])
"""Frames of streams whose units are next to one another, and are kept apart."""
_PARTS: Mapping[Division, str] = {
    "time": "blocks of time",
    "group": "groups of duplicates",
    "scene": "scenes",
    "stream": "streams",
    "track": "tracks",
}
_SHORT_BLOCKS = 16
"""Steps between frames that a stream needs for each block of the smallest split to be divided by time unasked."""


@dataclass(frozen=True)
class SplitRequest:
    """How to divide frames.

    `fractions` maps names of splits to fractions that add up to 1. `block` and `guard` are for division by time: the
    length of blocks that stay together, and the least distance of frames of different splits; None for lengths that
    suit the stream. `near_duplicates`: let frames of one group of duplicates be in different splits, unless their
    content is equal. `strict`: refuse frames in which no stage has searched for duplicates.
    """

    fractions: Mapping[str, float]
    by: SplitBy = "auto"
    seed: int = 0
    block: Length | None = None
    guard: Length | None = None
    near_duplicates: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Splits:
    """Frames by their split.

    `frames`: one row per frame of the export, in its order, with the key, `content_hash`, `group_id`, `split` (null for
    one that is left out), `left_out` (why), `release` (by whose export it was given first, or null) and `split_by`.
    `lengths`: for streams that are divided by time their block and guard. `unsearched`: streams in which no stage has
    searched for duplicates. `crossing`: tracks that are in several splits of a stream that is divided by time, with
    `stream_id`, `track_id` and `frames`, the longest first. `fractions`: the shares that were requested.
    """

    frames: pl.DataFrame
    lengths: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unsearched: tuple[str, ...] = ()
    crossing: tuple[Mapping[str, Any], ...] = ()
    fractions: Mapping[str, float] = field(default_factory=dict)

    def description(self, release: str | None) -> dict[str, Any]:
        """Return how the frames were divided, as plain values that do not change when the export is repeated.

        `release` is that of the export: its frames count as given by it even before they are on record.
        """
        ways = dict(self.frames.select("stream_id", "split_by").unique().sort("stream_id").iter_rows())
        left = self.frames.drop_nulls("left_out").group_by("left_out").len().sort("left_out")
        first = self.frames.drop_nulls("split").select(pl.col("release").fill_null(pl.lit(release)))
        given = first.drop_nulls().group_by("release").len().sort("release")
        counts = dict(self.frames.drop_nulls("split").group_by("split").len().iter_rows())
        return {
            "streams": {stream: {"by": way, **self.lengths.get(stream, {})} for stream, way in ways.items()},
            "left_out": dict(left.iter_rows()),
            "given_by_release": dict(given.iter_rows()),
            "duplicates_unknown": list(self.unsearched),
            "shares": {
                name: {"requested": share, "found": counts.get(name, 0) / max(sum(counts.values()), 1)}
                for name, share in self.fractions.items()
            },
            "tracks_in_several": [dict(each) for each in self.crossing],
        }


def length_of(option: str, text: str | None) -> Length | None:
    """Return the length that an option gives. Raises `UserError` for a text that is none."""
    try:
        return Length.parse(text) if text is not None else None
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error


def divide(view: View, rows: pa.Table, request: SplitRequest, given: pl.DataFrame) -> Splits:
    """Return the splits of the frames of an export, rows of `curated`.

    `given`: what frames have been given for good (`given_splits`). Raises `UserError` for a split that gets no frame,
    and where evidence is missing that was requested.
    """
    _check_lengths(request)
    frames = pl.DataFrame(rows.select([*_IMAGE_KEY, "group_id", "time_ns"])).with_columns(
        pl.col("group_id").cast(pl.String), elsewhere=pl.lit(False)
    )
    streams = frames["stream_id"].unique().sort().to_list()
    unsearched = tuple(s for s in streams if s not in view.selection.keys.get(schemas.DUPLICATES.written_by, {}))
    if request.strict and unsearched:
        raise UserError(
            f"--strict: near-duplicates are unknown in {', '.join(unsearched)}; run them with the stage duplicates"
        )
    _check_given(given, frames, request)
    everyone = view.lazy("frames").filter(pl.col("status") == "ok").select(*FRAME_KEY, "time_ns").collect()
    by = _ways(view, everyone, request)
    names = list(request.fractions)
    others = groups_given_elsewhere(view, frames, given, names).filter(not request.near_duplicates)
    # Frames that only earlier releases have hold their places, so that new ones keep away from them.
    absent = frames_given_elsewhere(view, frames, given, names)
    frames = pl.concat([frames, absent.select(frames.columns)])
    frames = frames.with_columns(split_by=pl.col("stream_id").replace_strict(by, return_dtype=pl.String))
    frames, lengths = _in_blocks(frames, everyone, request)
    frames = _with_block_splits(view, frames, everyone, request)
    frames = _with_keys(view, frames, by, request)
    frames = _assigned(frames, request)
    frames = _with_given(frames, given, others)
    frames = _without_duplicates(frames, others, request)
    frames, crossing = kept_apart(view, frames, request.fractions)
    found = frames.filter(~pl.col("elsewhere")).select(
        *_IMAGE_KEY, "group_id", "key", "split", "left_out", "release", "split_by"
    )
    _refuse_empty(found, request)
    return Splits(found.drop("key"), lengths, unsearched, crossing, dict(request.fractions))


def _check_lengths(request: SplitRequest) -> None:
    block, guard = request.block, request.guard
    given = {"--block": block, "--guard": guard}
    uses = {"auto": set(given), "time": set(given), "track": {"--guard"}}.get(request.by, set())
    problems = [
        f"{name} {length}: this is for --split-by time, and not for --split-by {request.by}"
        for name, length in given.items()
        if length and name not in uses
    ]
    if block and block.value <= 0:
        problems.append(f"--block {block}: expected more than 0")
    if block and guard and block.unit != guard.unit:
        problems.append(f"--block {block} and --guard {guard}: expected both in frames, or both in seconds")
    elif block and guard and guard.value >= block.value:
        problems.append(f"--guard {guard}: expected less than --block {block}, or no frame would be left")
    if problems:
        raise UserError(problems)


def _check_given(given: pl.DataFrame, frames: pl.DataFrame, request: SplitRequest) -> None:
    here = given.drop_nulls("split").join(frames, on="content_hash", how="semi")
    if other := sorted(set(here["split"].to_list()) - set(request.fractions)):
        releases = ", ".join(sorted(set(here["release"].to_list())))
        raise UserError(
            f"--split names {', '.join(request.fractions)}; frames of this export are in {', '.join(other)} for good, "
            f"since release {releases} was exported: name these too, or divide them newly with another --seed"
        )


def _ways(view: View, everyone: pl.DataFrame, request: SplitRequest) -> dict[str, Division]:
    streams = everyone["stream_id"].unique().sort().to_list()
    if request.by != "auto":
        return dict.fromkeys(streams, request.by)
    if request.block or request.guard:
        return dict.fromkeys(streams, BY_TIME)
    blocks = 1 / min(request.fractions.values())
    gaps = pl.col("frame_idx").sort().diff()
    steps = everyone.group_by("stream_id").agg(
        span=pl.col("frame_idx").max() - pl.col("frame_idx").min(), step=gaps.median()
    )
    short = steps.filter(pl.col("span") < _SHORT_BLOCKS * blocks * pl.col("step").fill_null(1))["stream_id"].to_list()
    # A few short streams could not fill the splits if they stayed whole.
    whole = frozenset(short) if len(streams) >= 2 * blocks else frozenset()
    return divisions(view, streams, whole, 1 / blocks)


def _in_blocks(
    frames: pl.DataFrame, everyone: pl.DataFrame, request: SplitRequest
) -> tuple[pl.DataFrame, dict[str, dict[str, str]]]:
    """Add `position`; `guard`, null unless a stream is divided by time or track; `block_length` and the number `block`.

    The last two are null unless it is divided by time. The lengths are returned as texts, by stream.
    """
    unit, position = _unit(request), _position(request)
    frames = frames.with_columns(position=position)
    mine = frames.filter(_APART & ~pl.col("elsewhere"))
    if timeless := sorted(mine.filter(pl.col("position").is_null())["stream_id"].unique().to_list()):
        raise UserError(
            f"frames of {', '.join(timeless)} have no times, since they are files; give --block and --guard in frames"
        )
    spans = everyone.with_columns(position=position).group_by("stream_id")
    spans_of = dict(spans.agg(pl.col("position").max() - pl.col("position").min()).iter_rows())
    steps = mine.group_by("stream_id", "split_by").agg(pl.col("position").sort().diff().median())
    smallest = min(request.fractions.values())
    blocks, guards, lengths = {}, {}, {}
    for stream, way, step in steps.sort("stream_id").iter_rows():
        least = LEAST_GUARD_STEPS * (step if step is not None else 1.0)
        if way == BY_TRACK:
            guards[stream] = float(request.guard.value if request.guard else least)
            lengths[stream] = {"guard": str(Length(guards[stream], unit))}
            continue
        block = request.block.value if request.block else default_block(spans_of[stream], least, smallest)
        if request.guard and not request.block:
            block = max(block, 4 * request.guard.value)
        guard = request.guard.value if request.guard else min(max(block / 4, least), block / 2)
        if unit != "seconds":
            block, guard = math.ceil(block), math.ceil(guard)
        blocks[stream], guards[stream] = float(block), float(guard)
        lengths[stream] = {"block": str(Length(block, unit)), "guard": str(Length(guard, unit))}
    frames = frames.with_columns(
        block_length=pl.col("stream_id").replace_strict(blocks, default=None, return_dtype=pl.Float64),
        guard=pl.col("stream_id").replace_strict(guards, default=None, return_dtype=pl.Float64),
    )
    frames = frames.with_columns(block=(pl.col("position") / pl.col("block_length")).floor().cast(pl.Int64))
    return frames, lengths


def _unit(request: SplitRequest) -> Literal["frames", "seconds"]:
    given = request.block or request.guard
    return given.unit if given else "frames"


def _position(request: SplitRequest) -> pl.Expr:
    """Return where a frame is in its stream, in the unit in which blocks and guards are given."""
    return (pl.col("time_ns") / 1e9 if _unit(request) == "seconds" else pl.col("frame_idx")).cast(pl.Float64)


def _with_keys(view: View, frames: pl.DataFrame, by: Mapping[str, Division], request: SplitRequest) -> pl.DataFrame:
    """Add the column `key`, which is equal for frames that stay together."""
    in_blocks = frames.filter(pl.col("split_by") == BY_TIME)
    on_tracks = frames.filter(pl.col("split_by") == BY_TRACK)
    in_units = frames.filter(~_APART)
    parts = [in_blocks.select(*FRAME_KEY, key=pl.concat_str("stream_id", pl.lit(" block "), "unit"))]
    if on_tracks.height:
        parts.append(on_tracks.select(FRAME_KEY).with_columns(key=track_keys(view, on_tracks)))
    if in_units.height:
        joined = {stream: way for stream, way in by.items() if way not in {BY_TIME, BY_TRACK}}
        parts.append(
            in_units.select(FRAME_KEY).with_columns(key=unit_keys(view, in_units, joined, request.near_duplicates))
        )
    return frames.join(pl.concat(parts), on=FRAME_KEY, how="left", maintain_order="left")


def _with_block_splits(view: View, frames: pl.DataFrame, everyone: pl.DataFrame, request: SplitRequest) -> pl.DataFrame:
    """Add `unit`, the first of the blocks that long tracks join to that of a frame, and `by_block`, its split.

    Both are null unless the stream is divided by time. They follow from all frames of the view, so that they do not
    depend on which of them are exported.
    """
    lengths = frames.drop_nulls("block_length").group_by("stream_id").agg(pl.col("block_length").first())
    if not lengths.height:
        return frames.with_columns(unit=pl.lit(None, pl.Int64), by_block=pl.lit(None, pl.String))
    there = everyone.join(lengths, on="stream_id").with_columns(position=_position(request))
    there = there.with_columns(block=(pl.col("position") / pl.col("block_length")).floor().cast(pl.Int64))
    blocks = there.group_by("stream_id", "block").agg(frames=pl.len()).sort("stream_id", "block")
    columns = blocks.to_arrow()
    places = block_places(columns["stream_id"].cast(pa.string()), columns["block"].to_numpy(), request.seed)
    splits = pl.Series(splits_at(places, request.fractions))
    blocks = blocks.with_columns(place=pl.Series(places), split=splits)
    seen = view.lazy(final_objects.NAME).drop_nulls("track_id").select(*FRAME_KEY, "track_id").unique().collect()
    at = pl.col("position")
    spans = seen.join(there, on=FRAME_KEY).group_by("stream_id", "track_id")
    tracks = spans.agg(
        first=pl.col("block").min(),
        last=pl.col("block").max(),
        frames=pl.len(),
        is_long=at.max() - at.min() > pl.col("block_length").first(),
    )
    joined = joined_by_tracks(blocks, tracks.filter("is_long").drop("track_id", "is_long"), request.fractions)
    found = joined.select("stream_id", "block", "unit", by_block="split")
    return frames.join(found, on=["stream_id", "block"], how="left", maintain_order="left")


def _assigned(frames: pl.DataFrame, request: SplitRequest) -> pl.DataFrame:
    by_key = assign_splits(frames.select("key").to_arrow()["key"].cast(pa.string()), request.fractions, request.seed)
    in_time = pl.col("split_by") == BY_TIME
    chosen = pl.when(in_time).then("by_block").otherwise("by_key")
    return frames.with_columns(by_key=pl.Series(by_key)).with_columns(split=chosen).drop("by_key", "by_block")


def _with_given(frames: pl.DataFrame, given: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Put frames into the recorded splits of themselves, of their content, or of their unit.

    A unit that is not divided by time is also where frames of its groups are that are not in this export.
    """
    exact = given.rename({"split": "given_split"})
    found = frames.join(exact, on=_IMAGE_KEY, how="left", maintain_order="left")
    same = by_content(given).rename({"split": "of_content"})
    found = found.join(same, on="content_hash", how="left", maintain_order="left")
    found = found.with_columns(given_split=pl.coalesce("given_split", "of_content"))
    of_group = others.group_by("group_id", of_group="split").len().sort("group_id", "len", "of_group")
    of_group = of_group.unique("group_id", keep="last", maintain_order=True).drop("len")
    found = found.join(of_group, on="group_id", how="left", maintain_order="left")
    said = pl.coalesce("given_split", pl.when(~_APART).then("of_group"))
    counted = found.with_columns(said=said).drop_nulls("said").group_by("key", "said").len()
    ordered = counted.sort("key", "len", "said", descending=[False, True, False])
    of_unit = ordered.unique("key", keep="first", maintain_order=True).select("key", of_unit="said")
    found = found.join(of_unit, on="key", how="left", maintain_order="left")
    chosen = pl.when(pl.col("left_out").is_null()).then(pl.coalesce("given_split", "of_unit", "split"))
    is_given = pl.col("given_split").is_not_null() & pl.col("left_out").is_null()
    return found.with_columns(split=chosen, given=is_given).drop("given_split", "of_content", "of_unit", "of_group")


def _without_duplicates(frames: pl.DataFrame, others: pl.DataFrame, request: SplitRequest) -> pl.DataFrame:
    """Leave out frames of streams divided by time or track whose duplicates, or whose content, are in another split.

    Joining such units instead would leave one unit alone of many a fixed camera. A group is where it was given, else
    where its frames of other streams are, else in the split of which it is the largest part.
    """
    rank = pl.when("given").then(0).when(~_APART).then(1).otherwise(2).alias("rank")
    for link in ("content_hash",) if request.near_duplicates else ("content_hash", "group_id"):
        here = frames.filter(~pl.col("elsewhere"))
        there = here.drop_nulls([link, "split"]).select(link, "split", rank)
        if link in others.columns:
            there = pl.concat([there, others.with_columns(rank=pl.lit(0, there.schema["rank"]))], how="vertical")
        weight = pl.len() / pl.col("split").first().replace_strict(request.fractions)
        parts = there.group_by(link, "split").agg(pl.col("rank").min(), weight=weight)
        ordered = parts.sort(link, "rank", "weight", "split", descending=[False, False, True, False])
        places = ordered.unique(link, keep="first", maintain_order=True).select(link, place="split")
        frames = frames.join(places, on=link, how="left", maintain_order="left")
        elsewhere = (_APART & ~pl.col("given") & (pl.col("split") != pl.col("place"))).fill_null(False)
        frames = left_out(frames, elsewhere, "duplicate").drop("place")
    return frames


def _refuse_empty(frames: pl.DataFrame, request: SplitRequest) -> None:
    """Raise `UserError` if a split has no frames."""
    if not frames.height:
        raise UserError("no frame fits, so that there is nothing to split; leave out --split, or choose other frames")
    counts = dict(frames.drop_nulls("split").group_by("split").len().iter_rows())
    empty = [name for name in request.fractions if not counts.get(name)]
    if not empty:
        return
    found = ", ".join(f"{name} {counts.get(name, 0):,}" for name in request.fractions)
    left = dict(frames.drop_nulls("left_out").group_by("left_out").len().sort("left_out").iter_rows())
    lost = f"; {sum(left.values()):,} left out so that splits do not leak" if left else ""
    ways = sorted(set(frames["split_by"].to_list()))
    parts = f"{' and '.join(_PARTS[way] for way in ways)} that stay together: {frames['key'].n_unique()}"
    shorter = "shorter blocks (--block), a shorter gap (--guard)"
    helps = shorter if ways == [BY_TIME] else "--split-by time with short blocks (--block)"
    if left.get("duplicate"):
        helps = f"--near-duplicates, since {many(left['duplicate'], 'frame', 'resemble')} one of another split; {helps}"
    raise UserError(
        f"--split: no frame fell into {', '.join(empty)} ({found}{lost}); {parts}; what may help: "
        f"{helps}, another --seed, more frames"
    )
