"""Kinds of frames besides verdict, stream, category and hour: flags, score, scene, caption, review, duplicate group.

Each is a column in memory, or a list of pairs of frames and values, read when somebody first asks for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.web.frame_columns import Array, places
from jobs.web.project_data import Shown

SCORE_BINS = 20
"""Intervals of equal width of the facet of scores."""

MOST_WORDS = 2000
"""Different words of captions that are counted: the most frequent ones."""

_WORD = re.compile(r"[^\W\d_]{3,}")
# What every caption has says nothing of any.
_COMMON = (
    "the and with for that this from are was has have its his her their there into onto near next over some two while "
    "which who but not you all can"
)
_EVERYWHERE = frozenset(_COMMON.split())
_MOST_VALUES = 1000
_NONE = -1

Value = dict[str, Any]


@dataclass(frozen=True)
class FrameCodes:
    """A value of each frame as a number, -1 for none; `names` says what the numbers are, `rank` in which order."""

    codes: Array
    names: pa.Array
    rank: Array | None = None

    def mask(self, wanted: Sequence[str]) -> Array:
        """Return which frames have one of these values, boolean, shape (N,)."""
        there = np.flatnonzero(pc.is_in(self.names, pa.array(wanted, self.names.type)).to_numpy(zero_copy_only=False))
        return np.isin(self.codes, there)

    def values(self, chosen: Array) -> list[Value]:
        """Return the values that chosen frames have, with the number of frames of each; a thousand at most."""
        counts = np.bincount(self.codes[chosen] + 1, minlength=len(self.names) + 1)
        order = np.arange(len(self.names)) if self.rank is None else self.rank
        there = order[counts[1:][order] > 0][:_MOST_VALUES]
        found = [{"value": self.names[int(at)].as_py(), "frames": int(counts[at + 1])} for at in there]
        return [*found, {"value": None, "frames": int(counts[0])}] if found and counts[0] else found


@dataclass(frozen=True)
class FramePairs:
    """Values of frames that may have several: rows of frames and numbers of values, of equal shape."""

    rows: Array
    codes: Array
    names: tuple[str, ...]
    n: int

    def mask(self, wanted: Sequence[str]) -> Array:
        """Return which frames have one of these values, boolean, shape (N,)."""
        there = [self.names.index(name) for name in wanted if name in self.names]
        found = np.zeros(self.n, np.bool_)
        found[self.rows[np.isin(self.codes, there)]] = True
        return found

    def values(self, chosen: Array) -> list[Value]:
        """Return the values that chosen frames have with the number of frames of each, the most frequent first."""
        counts = np.bincount(self.codes[chosen[self.rows]], minlength=len(self.names))
        order = np.argsort(-counts, kind="stable")[:_MOST_VALUES].tolist()
        return [{"value": self.names[at], "frames": int(counts[at])} for at in order if counts[at]]


def flags(shown: Shown) -> FramePairs:
    """Return the remarks on frames that do not drop them."""
    return shown.frames.held("flags", _OF_VERDICTS, lambda: _pairs(shown, schemas.CURATION.name, "flags"))


def words(shown: Shown) -> FramePairs:
    """Return the words of captions, in lower case, three letters and longer."""
    return shown.frames.held("words", (schemas.CAPTIONS,), lambda: _words(shown))


def scores(shown: Shown) -> Array:
    """Return the highest score of the objects on each frame, float32, shape (N,); NaN for none."""
    return shown.frames.held("scores", _OF_OBJECTS, lambda: _scores(shown))


def scenes(shown: Shown) -> FrameCodes:
    """Return the scene of each frame, as NUMBER@STREAM."""
    return shown.frames.held("scenes", (schemas.SCENES,), lambda: _scenes(shown))


def groups(shown: Shown) -> FrameCodes:
    """Return the duplicate group of each frame that is not alone in its own, the largest first."""
    return shown.frames.held("groups", (schemas.DUPLICATES,), lambda: _groups(shown))


def reviewed(shown: Shown) -> FrameCodes:
    """Return of each frame whether it is known what is on it: from a person, or from imported ground truth."""
    return shown.frames.held("reviewed", _OF_OBJECTS, lambda: _reviewed(shown))


def score_bins(shown: Shown, chosen: Array) -> list[Value]:
    """Return how many chosen frames have their highest score in each of `SCORE_BINS` intervals of 0..1.

    `value` is where an interval begins; that of frames without a scored object is None.
    """
    values = scores(shown)[chosen]
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    at = np.minimum((known.astype(np.float64) * SCORE_BINS + 1e-6).astype(np.int64), SCORE_BINS - 1)
    counts = np.bincount(at, minlength=SCORE_BINS)
    found: list[Value] = [{"value": n / SCORE_BINS, "frames": int(count)} for n, count in enumerate(counts)]
    return [*found, {"value": None, "frames": len(values) - len(known)}] if len(known) < len(values) else found


def absent(shown: Shown) -> list[dict[str, str]]:
    """Return the kinds of which nothing is known, and the stage that would find it out: kind, stage and command."""
    keys = shown.view.selection.keys
    found = []
    for kind, stage in _BROUGHT_BY.items():
        if stage not in keys and not (kind in _ALSO_BY_PEOPLE and shown.frames.has_objects):
            found.append({"kind": kind, "stage": stage, "command": f"winnow run --input FOLDER --add-stage {stage}"})
    return found


_OF_VERDICTS = (schemas.CURATION, schemas.OVERRIDES, schemas.FRAMES)
_OF_OBJECTS = (
    *(schemas.ANNOTATIONS, schemas.ANNOTATED, schemas.MASKS, schemas.TRACKS, schemas.PROPAGATIONS, schemas.PROPAGATED),
    *(schemas.TEXTS, schemas.IMPORTS, schemas.REVIEWS, schemas.ROUTING, schemas.ESCALATED, schemas.FRAMES),
    *(schemas.CURATION, schemas.OVERRIDES),
)
_BROUGHT_BY = {
    "keep": schemas.CURATION.written_by,
    "flag": schemas.CURATION.written_by,
    "category": schemas.ANNOTATED.written_by,
    "score": schemas.ANNOTATED.written_by,
    "scene": schemas.SCENES.written_by,
    "caption": schemas.CAPTIONS.written_by,
    "group": schemas.DUPLICATES.written_by,
}
_ALSO_BY_PEOPLE = ("category", "score")


def _place(shown: Shown, rows: pl.DataFrame) -> pl.DataFrame:
    """Add the row of each frame, `row`, and leave out frames that are not there."""
    place = places(shown.frames.keys, rows.select(schemas.FRAME_KEY).to_arrow())
    return rows.with_columns(row=pl.Series(place, dtype=pl.Int64)).filter(pl.col("row") >= 0)


def _pairs(shown: Shown, table: str, column: str) -> FramePairs:
    rows = shown.view.lazy(table).select(*schemas.FRAME_KEY, value=column).explode("value").drop_nulls("value")
    return _coded(shown, _place(shown, rows.collect()))


def _coded(shown: Shown, rows: pl.DataFrame) -> FramePairs:
    names = tuple(sorted(rows["value"].unique().to_list()))
    codes = np.array([names.index(name) for name in rows["value"]], np.uint16)
    return FramePairs(rows["row"].to_numpy(), codes, names, len(shown.frames.keys))


def _words(shown: Shown) -> FramePairs:
    rows = _place(shown, shown.view.lazy(schemas.CAPTIONS.name).select(*schemas.FRAME_KEY, "caption").collect())
    of_row = [
        (row, set(_WORD.findall(text.lower())) - _EVERYWHERE)
        for row, text in zip(rows["row"], rows["caption"], strict=True)
        if text
    ]
    frequent = Counter(word for _, found in of_row for word in found).most_common(MOST_WORDS)
    names = tuple(sorted(word for word, _ in frequent))
    codes = {name: at for at, name in enumerate(names)}
    pairs = [(row, codes[word]) for row, found in of_row for word in found if word in codes]
    of_frame, of_word = zip(*pairs, strict=True) if pairs else ((), ())
    return FramePairs(np.array(of_frame, np.uint32), np.array(of_word, np.uint16), names, len(shown.frames.keys))


def _scores(shown: Shown) -> Array:
    found = np.full(len(shown.frames.keys), np.nan, np.float32)
    if shown.frames.has_objects:
        best = shown.view.lazy("objects").drop_nulls("score").group_by(*schemas.FRAME_KEY).agg(pl.col("score").max())
        rows = _place(shown, best.collect())
        found[rows["row"].to_numpy()] = rows["score"].to_numpy()
    return found


def _scenes(shown: Shown) -> FrameCodes:
    keys = shown.frames.keys
    codes = np.full(len(keys), _NONE, np.int32)
    rows = shown.view.lazy(schemas.SCENES.name).select("stream_id", "scene_idx", "start_idx", "end_idx").collect()
    rows = rows.sort("stream_id", "scene_idx")
    for at, (stream, _, start, end) in enumerate(rows.iter_rows()):
        of_stream = keys.rows_of(stream)
        first, last = np.searchsorted(keys.numbers[of_stream], (start, end + 1)).tolist()
        codes[of_stream.start + first : of_stream.start + last] = at
    names = rows.select(pl.format("{}@{}", "scene_idx", "stream_id")).to_series().to_arrow().cast(pa.string())
    return FrameCodes(codes, names)


def _groups(shown: Shown) -> FrameCodes:
    codes = np.full(len(shown.frames.keys), _NONE, np.int32)
    rows = shown.view.lazy(schemas.DUPLICATES.name).select(*schemas.FRAME_KEY, "group_id")
    rows = rows.filter(pl.len().over("group_id") > 1)
    placed = _place(shown, rows.collect())
    names = placed["group_id"].unique(maintain_order=False).sort()
    numbered = placed.join(pl.DataFrame({"group_id": names}).with_row_index("code"), on="group_id", how="left")
    codes[numbered["row"].to_numpy()] = numbered["code"].to_numpy()
    sizes = np.bincount(codes + 1, minlength=len(names) + 1)[1:]
    return FrameCodes(codes, names.to_arrow().cast(pa.string()), np.argsort(-sizes, kind="stable"))


def _reviewed(shown: Shown) -> FrameCodes:
    codes = np.ones(len(shown.frames.keys), np.int8)
    if not any(shown.store.open(table).n_rows for table in (schemas.IMPORTS, schemas.REVIEWS)):
        # Saves reading the content hash of each frame.
        return FrameCodes(codes, pa.array(["yes", "no"]))
    rows = _place(shown, shown.view.lazy("reviewed_frames").select(schemas.FRAME_KEY).collect())
    codes[rows["row"].to_numpy()] = 0
    return FrameCodes(codes, pa.array(["yes", "no"]))


KINDS: dict[str, Callable[[Shown], FrameCodes | FramePairs]] = {
    "flag": flags,
    "scene": scenes,
    "caption": words,
    "group": groups,
    "reviewed": reviewed,
}
"""Kinds whose values are names, by what gives them."""
