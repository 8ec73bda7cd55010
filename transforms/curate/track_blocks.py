"""Blocks of time that long tracks connect: which stay together, in which split they are, and which tracks are cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import polars as pl

from transforms.curate.time_blocks import smallest_first

_MUCH = 0.25
"""Share of a stream's frames from which on a track is worth a smaller share for the other splits."""
_LEAST_KEPT = 0.5
"""Share of the frames of a stream's largest split that are kept, at least, when long tracks are cut."""


def joined_by_tracks(blocks: pl.DataFrame, tracks: pl.DataFrame, fractions: Mapping[str, float]) -> pl.DataFrame:
    """Return blocks with the split of what they are joined to: blocks that a long track connects stay together.

    `blocks`: one row per block of a stream, with `stream_id`, `block` (its number), `frames` (how many it has), `split`
    and `place` (0..1, where the block is among those that the splits divide). `tracks`: one row per track that is
    longer than a block, with `stream_id`, `first` and `last` (numbers of its first and last block) and `frames`.

    The result has in addition `unit`, the number of the first block of those that are joined. Nothing changes in a
    stream of which no such track is in two splits. Otherwise tracks join blocks, the shortest track first, as long as
    no more is joined than the largest split should have; a track on more than a quarter of the frames may take half of
    what the other splits should have, too. Joined blocks, the largest first, go to the split that lacks most frames,
    and then the others to their own split, unless it has enough.
    """
    parts = []
    spans = tracks.sort("stream_id", "first", "last", "frames").partition_by("stream_id", as_dict=True)
    for (stream,), mine in blocks.sort("stream_id", "block").partition_by("stream_id", as_dict=True).items():
        found = spans.get((stream,))
        known = _Stream.of(mine, fractions)
        if found is None or not known.is_crossed(found):
            parts.append(mine.with_columns(unit="block"))
            continue
        known.join(found)
        first, splits = known.divided()
        parts.append(mine.with_columns(unit=pl.Series(first, dtype=pl.Int64), split=pl.Series(splits, dtype=pl.String)))
    return pl.concat(parts) if parts else blocks.with_columns(unit="block")


@dataclass
class _Stream:
    """The blocks of a stream, of which `root` says by index to which one each is joined."""

    numbers: list[int]
    frames: list[int]
    splits: list[str]
    places: list[float]
    fractions: Mapping[str, float]
    root: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, blocks: pl.DataFrame, fractions: Mapping[str, float]) -> _Stream:
        numbers, frames, splits, places = (blocks[name].to_list() for name in ("block", "frames", "split", "place"))
        return cls(numbers, frames, splits, places, fractions, list(range(blocks.height)))

    def is_crossed(self, tracks: pl.DataFrame) -> bool:
        """Return whether any of the tracks is in two splits."""
        return any(len({self.splits[at] for at in within}) > 1 for within, _ in self._spans(tracks))

    def _spans(self, tracks: pl.DataFrame) -> Iterator[tuple[range, int]]:
        """Yield the indexes of the blocks of each track, and its number of frames, the shortest first."""
        index = {number: at for at, number in enumerate(self.numbers)}
        found = [(range(index[a], index[b] + 1), n) for a, b, n in tracks.select("first", "last", "frames").iter_rows()]
        yield from sorted(found, key=lambda each: (len(each[0]), each[1], each[0].start))

    def join(self, tracks: pl.DataFrame) -> None:
        """Join the blocks of every track, as far as enough is left for each split."""
        before = list(accumulate(self.frames, initial=0))
        last = list(self.root)
        for within, n in self._spans(tracks):
            first, final = self._first(within[0]), self._first(within[-1])
            weight = before[last[final] + 1] - before[first]
            largest = max(self.fractions.values())
            most = 1 - (1 - largest) / 2 if n > _MUCH * before[-1] else largest
            if first == final or weight > most * before[-1]:
                continue
            end, at = last[final], first
            while at <= end:
                self.root[at], at = first, last[at] + 1
            last[first] = end

    def _first(self, at: int) -> int:
        """Return the first of the blocks to which one is joined, all of which follow one another."""
        while self.root[at] != at:
            self.root[at] = at = self.root[self.root[at]]
        return at

    def divided(self) -> tuple[list[int], list[str]]:
        """Return for each block the number of the first block that it is joined to, and its split."""
        members: dict[int, list[int]] = {}
        firsts = [self._first(at) for at in range(len(self.root))]
        for at, first in enumerate(firsts):
            members.setdefault(first, []).append(at)
        weights = {root: sum(self.frames[at] for at in each) for root, each in members.items()}
        lacking = {name: share * sum(self.frames) for name, share in self.fractions.items()}
        joined = sorted((r for r, each in members.items() if len(each) > 1), key=lambda r: (-weights[r], r))
        single = sorted((r for r, each in members.items() if len(each) == 1), key=lambda r: self.places[r])
        empty = set(self.fractions)
        chosen: dict[int, str] = {}
        for n_done, root in enumerate([*joined, *single]):
            own = self.splits[root]
            # A split without frames comes first where no more parts are left than such splits.
            open_ = [name for name in lacking if name in empty or len(members) - n_done > len(empty)]
            most = max(open_, key=lambda name: lacking[name])
            fits = len(members[root]) == 1 and own in open_ and 2 * lacking[own] >= weights[root]
            chosen[root] = own if fits else most
            lacking[chosen[root]] -= weights[root]
            empty.discard(chosen[root])
        return [self.numbers[first] for first in firsts], [chosen[first] for first in firsts]


def tracks_to_cut(frames: pl.DataFrame, tracks: pl.DataFrame, fractions: Mapping[str, float]) -> Sequence[str]:
    """Return the tracks in several splits that are worth leaving out their frames in all but the smallest of these.

    `frames`: N rows with `stream_id`, `split` and `given` (frames that stay). `tracks`: rows with `row` (position in
    `frames`) and `track`, of tracks that are longer than a block. The shortest tracks are taken first, as long as half
    of the frames of the largest split of their stream are kept.
    """
    ranks = {name: rank for rank, name in enumerate(smallest_first(fractions))}
    rows = frames.select("stream_id", "given", rank=pl.col("split").replace_strict(ranks, return_dtype=pl.Int64))
    seen = tracks.join(rows.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)), on="row")
    crossing = seen.filter(pl.col("rank").n_unique().over("track") > 1)
    counted = rows.group_by("stream_id", "rank").len().group_by("stream_id").agg(pl.col("len").max())
    budgets = {stream: (1 - _LEAST_KEPT) * n for stream, n in counted.iter_rows()}
    lost: dict[str, set[int]] = {}
    cut = []
    parts = crossing.partition_by("track", as_dict=True)
    for (track,), mine in sorted(parts.items(), key=lambda each: (each[1].height, each[0])):
        stream = mine["stream_id"][0]
        gives_way = mine.filter(pl.col("rank") > pl.col("rank").min(), ~pl.col("given"))["row"].to_list()
        after = lost.get(stream, set()).union(gives_way)
        if len(after) <= budgets[stream]:
            lost[stream] = after
            cut.append(str(track))
    return cut
