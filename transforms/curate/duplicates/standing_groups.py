"""Frames that are in a group already, found without holding their rows: what grouping new frames among them needs.

Of millions of frames that have groups, a few new ones are compared with representatives alone. The others are needed
only where a new frame follows them or has the same bytes; rows of all of them would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from transforms.core.identity import Int64Array, pair_ids
from transforms.core.table_stage import StageRows
from transforms.curate.duplicates.grouping import INPUT

_BEFORE = (*schemas.FRAME_KEY, "representative_stream", "representative_idx", "input_id")


class Concerned(NamedTuple):
    """The frames and earlier rows with which new frames are grouped as they are with all of them.

    `frames` has the columns of `grouping.INPUT`, and further ones that were requested, `before` the columns of
    `duplicates` that identify frame, representative and content. `n_frames`: how many decodable frames each stream has.
    """

    frames: pa.Table
    before: pa.Table
    n_frames: Mapping[str, int]


@dataclass(frozen=True)
class _Frames:
    """Number and content id of decodable frames, int64, shape (N,), sorted by stream and number.

    Those of stream `s` are from `bounds[s]` to before `bounds[s + 1]`; `codes` has that number of each stream.
    """

    codes: Mapping[str, int]
    bounds: Int64Array
    frame_idx: Int64Array
    content: Int64Array

    @classmethod
    def read(cls, fingerprints: StageRows, streams: Sequence[str]) -> _Frames:
        codes = {name: code for code, name in enumerate(sorted(streams))}
        parts: list[tuple[Int64Array, Int64Array, Int64Array]] = []
        for batch in fingerprints.batches((*schemas.FRAME_KEY, "input_id", "phash"), streams):
            rows = batch.filter(pc.is_valid(batch["phash"]))
            numbers = rows["frame_idx"].to_numpy(), rows["input_id"].to_numpy()
            parts.append((_coded(rows["stream_id"], codes), *numbers))
        stream, frame_idx, content = (_joined([part[n] for part in parts]) for n in range(3))
        order = np.lexsort((frame_idx, stream))
        bounds = np.searchsorted(stream[order], np.arange(len(codes) + 1)).astype(np.int64)
        return cls(codes, bounds, frame_idx[order], content[order])

    def places(self, stream: Int64Array, frame_idx: Int64Array) -> Int64Array:
        """Return the positions of frames, given numbers of streams (-1: none of these), or -1, shape (M,), int64."""
        found = np.full(len(stream), -1, np.int64)
        order = np.argsort(stream, kind="stable")
        present, starts = np.unique(stream[order], return_index=True)
        for code, (start, end) in zip(present.tolist(), pairwise([*starts.tolist(), len(order)]), strict=True):
            own = self.frame_idx[self.bounds[code] : self.bounds[code + 1]] if code >= 0 else self.frame_idx[:0]
            if not len(own):
                continue
            rows = order[start:end]
            at = np.minimum(np.searchsorted(own, frame_idx[rows]), len(own) - 1)
            hit = own[at] == frame_idx[rows]
            found[rows[hit]] = self.bounds[code] + at[hit]
        return found


def concerned(
    fingerprints: StageRows,
    before: StageRows,
    streams: Sequence[str],
    within: Sequence[str] | None,
    also: Sequence[str],
) -> Concerned:
    """Return what frames of `streams` without a valid group are grouped with.

    `before` are rows of `duplicates`, of the streams `within` (None: all). `also`: further columns of `fingerprints`.
    """
    frames = _Frames.read(fingerprints, streams)
    rows = _Rows.read(before, within, frames)
    standing = rows.standing(frames)
    wanted = _wanted(frames, standing)
    columns = (*schemas.FRAME_KEY, "input_id", "phash", *also)
    chosen = [
        batch.filter(pa.array(_are_wanted(batch, frames, wanted))) for batch in fingerprints.batches(columns, streams)
    ]
    named = [*INPUT.names, *also]
    found = pa.Table.from_batches(chosen).rename_columns(named) if chosen else _none(columns, named)
    is_concerned = rows.member < 0
    is_concerned |= wanted[rows.member]
    sizes = np.diff(frames.bounds).tolist()
    return Concerned(found, rows.table(is_concerned), {name: sizes[code] for name, code in frames.codes.items()})


@dataclass(frozen=True)
class _Rows:
    """Rows of `duplicates`, shape (M,): positions of their frames and representatives (-1: none), and their ids.

    `names` are of their streams, which `stream` and `centre_stream` number.
    """

    names: Sequence[str]
    stream: Int64Array
    frame_idx: Int64Array
    centre_stream: Int64Array
    centre_idx: Int64Array
    input_id: Int64Array
    member: Int64Array
    centre: Int64Array

    @classmethod
    def read(cls, before: StageRows, within: Sequence[str] | None, frames: _Frames) -> _Rows:
        # Streams that are not there any more have rows that go; they are numbered after the others, and have no frames.
        codes = dict(frames.codes)
        parts: list[tuple[Int64Array, ...]] = []
        for batch in before.batches(_BEFORE, within):
            for name in ("stream_id", "representative_stream"):
                for unknown in pc.unique(batch[name]).to_pylist():
                    codes.setdefault(unknown, len(codes))
            coded = (_coded(batch[name], codes) for name in ("stream_id", "representative_stream"))
            numbers = (batch[name].to_numpy() for name in ("frame_idx", "representative_idx", "input_id"))
            parts.append((*coded, *numbers))
        stream, centre_stream, frame_idx, centre_idx, input_id = (_joined([p[n] for p in parts]) for n in range(5))
        n_known = len(frames.codes)
        member = frames.places(np.where(stream < n_known, stream, -1), frame_idx)
        centre = frames.places(np.where(centre_stream < n_known, centre_stream, -1), centre_idx)
        return cls(list(codes), stream, frame_idx, centre_stream, centre_idx, input_id, member, centre)

    def standing(self, frames: _Frames) -> Int64Array:
        """Return the position of each frame's representative by a row that is still valid, or -1, shape (N,), int64."""
        standing = np.full(len(frames.content), -1, np.int64)
        if not len(standing):
            return standing
        expected = pair_ids(frames.content[self.member], frames.content[self.centre], self.member != self.centre)
        valid = (self.member >= 0) & (self.centre >= 0) & (expected == self.input_id)
        standing[self.member[valid]] = self.centre[valid]
        # A group is valid only if the row of its representative is.
        return np.where((standing >= 0) & (standing[standing] == standing), standing, -1)

    def table(self, chosen: npt.NDArray[np.bool_]) -> pa.Table:
        """Return some of the rows with the columns that grouping reads."""
        names = pa.array(self.names, pa.string())
        columns = {
            "stream_id": names.take(pa.array(self.stream[chosen])),
            "frame_idx": self.frame_idx[chosen],
            "representative_stream": names.take(pa.array(self.centre_stream[chosen])),
            "representative_idx": self.centre_idx[chosen],
            "input_id": self.input_id[chosen],
        }
        return pa.table(columns)


def _wanted(frames: _Frames, standing: Int64Array) -> npt.NDArray[np.bool_]:
    """Mark new frames, those before them and of the same bytes, and all representatives, bool, shape (N + 1,).

    The last one is for rows of no frame.
    """
    n = len(standing)
    new = np.flatnonzero(standing < 0)
    wanted = np.append(standing < 0, False)
    if not len(new):
        return wanted
    wanted[:n] |= standing == np.arange(n)
    follows = new[~np.isin(new, frames.bounds[:-1])]
    wanted[follows - 1] = True
    contents = np.unique(frames.content[new])
    place = np.minimum(np.searchsorted(contents, frames.content), len(contents) - 1)
    wanted[:n] |= contents[place] == frames.content
    return wanted


def _are_wanted(batch: pa.RecordBatch, frames: _Frames, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    at = frames.places(_coded(batch["stream_id"], frames.codes), batch["frame_idx"].to_numpy())
    return wanted[at] & (at >= 0)


def _coded(names: pa.Array, codes: Mapping[str, int]) -> Int64Array:
    """Return the numbers of names, int64, shape (N,)."""
    found = names.dictionary_encode()
    numbers = np.array([codes[name] for name in found.dictionary.to_pylist()], np.int64)
    return numbers[found.indices.to_numpy()] if len(found) else np.empty(0, np.int64)


def _joined(parts: Sequence[Int64Array]) -> Int64Array:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _none(columns: Sequence[str], names: Sequence[str]) -> pa.Table:
    schema = schemas.FINGERPRINTS.arrow_schema
    return pa.schema([schema.field(name) for name in columns]).empty_table().rename_columns(list(names))
