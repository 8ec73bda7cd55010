"""Duplicate grouping: every group has a representative that each member is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le

import schemas
from transforms.core.identity import Int64Array, first_equal, hash_strings, mix, pair_ids
from transforms.metrics.hashing import from_hex, layout_array, to_hex
from transforms.models.embeddings import vector_array

Looks = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""Appearance features that frames are compared by: layouts, (N, 64) uint8, or unit vectors, (N, D) float32."""

INPUT = pa.schema(
    [
        pa.field("stream_id", pa.string()),
        pa.field("frame_idx", pa.int64()),
        # Content id of the frame: equal for equal bytes.
        pa.field("content_id", pa.int64()),
        pa.field("phash", pa.string()),
    ]
)


@dataclass(frozen=True)
class DuplicateParams:
    """When two frames count as duplicates.

    `by`: what makes two frames candidates: `phash`, their perceptual hashes, or `embedding`, their vectors, which needs
    neither hash nor verification.
    `hamming`: maximum number of 64 hash bits in which a member differs from its representative; two and a half times
    as many if the images differ by an overlay in one corner only.
    `verify`: second condition. `layout`: the images correlate in three of their four quarters, each averaged to
    4x4 cells; without it, `none`, 6 bits are enough to group a room with and without a person in it. `embedding`: the
    cosine of their vectors.
    `agreement`: minimum correlation of the quarters for `layout`.
    `cosine`: minimum cosine of a member's vector to its representative's, where embeddings are used.
    `scope`: whether frames are compared within their stream or across the whole workspace.
    `rebuild`: discard all groups and recompute them; does not describe the result, so it is not part of its identity.
    `join`: where near hashes are searched for: `local`, on the driver; `shuffle`, on all machines of a cluster; `auto`,
    on all machines if there are several and more than `shuffle_above` distinct hashes. The groups are the same.
    `shuffle_above`: see `join`. Up to that number the driver alone is faster.
    """

    by: Literal["phash", "embedding"] = "phash"
    hamming: Annotated[int, Ge(0), Le(16)] = 10
    verify: Literal["layout", "embedding", "none"] = "layout"
    agreement: Annotated[float, Ge(0), Le(1)] = 0.95
    cosine: Annotated[float, Ge(0), Le(1)] = 0.95
    scope: Literal["stream", "workspace"] = "workspace"
    rebuild: bool = False
    join: Literal["auto", "local", "shuffle"] = "auto"
    shuffle_above: Annotated[int, Ge(0)] = 1_000_000

    @property
    def uses(self) -> str | None:
        """Return the column that frames are compared by besides their hashes: `layout`, `vector` or none."""
        if "embedding" in {self.by, self.verify}:
            return "vector"
        return "layout" if self.verify == "layout" else None


@dataclass(frozen=True)
class Grouping:
    """Changes to the `duplicates` table: rows to add, and keys of the frames whose old rows are deleted."""

    added: pa.Table
    removed: pa.Table


MARKED = 2.5
"""Factor on `hamming` for images with a corner overlay. A factor of 2 misses one in thirty overlays of up to 5 % of a
photo; a factor of 3 groups one nearly symmetric photo of 88 with its mirror image."""

NearPairs = Callable[[npt.NDArray[np.uint64], int], pa.Table | None]
"""Returns which of distinct hashes are within a radius, of schema `distributed_hamming.PAIRS`; None: use the index."""


def group_frames(frames: pa.Table, old: pa.Table, params: DuplicateParams, near: NearPairs | None = None) -> Grouping:
    """Group frames around representatives.

    `frames` has schema `INPUT`: every decodable frame of the scope, with its hash; besides the column that
    `params.uses` names, as in `fingerprints` or `embeddings`. `old` holds the rows that an earlier run left for this
    configuration (schema of the `duplicates` table); those whose frame and representative are
    unchanged stay as they are, and their groups keep their ids. The other frames are taken in order of stream and
    number, in any order of `frames`: a frame of the same bytes as an earlier one joins the same group; for the others
    see `hamming.join_leaders` and `vector_groups.join_nearest`. `near` computes the pairs elsewhere; the result
    is the same.
    """
    order = pc.sort_indices(frames, [(name, "ascending") for name in schemas.FRAME_KEY])
    looks = _looks(frames, order.to_numpy().astype(np.int64), params)
    frames = frames.select(INPUT.names).take(order).combine_chunks()
    standing = _standing(frames, old)
    leader = _leaders(frames, looks, standing, params, near)
    fresh = np.flatnonzero(standing < 0)
    added = _rows(frames, looks, fresh, leader[fresh], params)
    kept = old.num_rows - int((standing >= 0).sum())
    removed = _gone(frames, standing, old) if kept else old.slice(0, 0)
    return Grouping(added, removed.select(list(schemas.FRAME_KEY)))


def _looks(frames: pa.Table, order: Int64Array, params: DuplicateParams) -> Looks | None:
    if params.uses is None:
        return None
    looks: Looks = layout_array(frames["layout"]) if params.uses == "layout" else vector_array(frames["vector"])
    # Vectors are large: copy them only if the order requires it.
    return looks if len(order) < 2 or (np.diff(order) > 0).all() else looks[order]


def _positions(frames: pa.Table, streams: pa.ChunkedArray, indices: pa.ChunkedArray) -> Int64Array:
    """Return the position in `frames` of each (stream, index), or -1: (M,) int64."""
    place = pa.table({**_keys(frames), "at": np.arange(frames.num_rows)})
    wanted = pa.table({"stream_id": streams, "frame_idx": indices, "order": np.arange(len(indices))})
    joined = wanted.join(place, list(schemas.FRAME_KEY), join_type="left outer").sort_by("order")
    return joined["at"].fill_null(-1).to_numpy()


def _keys(frames: pa.Table) -> dict[str, pa.ChunkedArray]:
    return {name: frames[name] for name in schemas.FRAME_KEY}


def _standing(frames: pa.Table, old: pa.Table) -> Int64Array:
    """Return for each frame the position of its representative in an old row that is still valid, or -1: (N,) int64."""
    standing = np.full(frames.num_rows, -1, np.int64)
    if not old.num_rows or not frames.num_rows:
        return standing
    content = frames["content_id"].to_numpy()
    member = _positions(frames, old["stream_id"], old["frame_idx"])
    centre = _positions(frames, old["representative_stream"], old["representative_idx"])
    found = (member >= 0) & (centre >= 0)
    expected = pair_ids(content[member], content[centre], member != centre)
    rows = np.flatnonzero(found & (expected == old["input_id"].to_numpy()))
    standing[member[rows]] = centre[rows]
    # A group is valid only if the row of its representative is.
    return np.where((standing >= 0) & (standing[standing] == standing), standing, -1)


def _leaders(
    frames: pa.Table, looks: Looks | None, standing: Int64Array, params: DuplicateParams, near: NearPairs | None
) -> Int64Array:
    """Return the position of every frame's representative, shape (N,)."""
    hashes = from_hex(frames["phash"])
    if not len(hashes):
        return np.empty(0, np.int64)
    streams = frames["stream_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    bounds = np.flatnonzero(np.diff(streams, prepend=-1, append=-1))
    starts_stream = np.zeros(len(hashes), np.bool_)
    starts_stream[bounds[:-1]] = True
    leader = np.empty(len(hashes), np.int64)
    content = frames["content_id"].to_numpy()
    if params.scope == "workspace":
        bounds = bounds[[0, -1]]
    for start, end in pairwise(bounds.tolist()):
        part = slice(start, end)
        within = np.where(standing[part] < 0, -1, standing[part] - start)
        own = None if looks is None else looks[part]
        leader[part] = start + _leaders_of_scope(
            hashes[part], content[part], own, starts_stream[part], within, params, near
        )
    return leader


def _leaders_of_scope(
    hashes: npt.NDArray[np.uint64],
    content: Int64Array,
    looks: Looks | None,
    starts_stream: npt.NDArray[np.bool_],
    standing: Int64Array,
    params: DuplicateParams,
    near: NearPairs | None,
) -> Int64Array:
    n = len(hashes)
    is_old = standing >= 0
    order = np.concatenate([np.flatnonzero(is_old), np.flatnonzero(~is_old)])
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    before = np.where(starts_stream, -1, rank[np.arange(n) - 1])[order]
    # Of frames of the same bytes only the first is compared, and the others join its group: compared on their own they
    # could meet a different frame with the same hash and end in another group.
    first = first_equal(content[order])
    first[: is_old.sum()] = np.arange(is_old.sum())
    compared = np.flatnonzero(first == np.arange(n))
    place = np.empty(n, np.int64)
    place[compared] = np.arange(len(compared))
    place = place[first]
    if looks is not None and (is_old.any() or len(compared) < n):
        looks = looks[order[compared]]
    before = np.where(before[compared] < 0, -1, place[before[compared]])
    leader = _joined(hashes[order[compared]], looks, before, rank[standing[is_old]], params, near)
    result = np.empty(n, np.int64)
    result[order] = order[compared[leader[place]]]
    return result


def _joined(
    hashes: npt.NDArray[np.uint64],
    looks: Looks | None,
    before: Int64Array,
    old_leader: Int64Array,
    params: DuplicateParams,
    near: NearPairs | None,
) -> Int64Array:
    # Imported here: it takes half a second, which a run with nothing new to group does not need.
    if params.by == "embedding":
        from transforms.curate.duplicates.vector_groups import join_nearest

        assert looks is not None
        return join_nearest(looks.astype(np.float32, copy=False), before, old_leader, params.cosine)
    from transforms.curate.duplicates.hamming import Verification, join_leaders

    least = params.agreement if params.uses == "layout" else params.cosine
    reach = int(MARKED * params.hamming) if params.uses == "layout" else 0
    verify = None if looks is None else Verification(looks, least, reach)
    pairs = near(np.unique(hashes), params.hamming) if near else None
    if pairs is not None:
        from transforms.curate.duplicates.distributed_hamming import join_pairs

        return join_pairs(hashes, before, old_leader, params.hamming, pairs, verify)
    return join_leaders(hashes, before, old_leader, params.hamming, verify)


def _rows(
    frames: pa.Table, looks: Looks | None, at: Int64Array, leader: Int64Array, params: DuplicateParams
) -> pa.Table:
    """Return the `duplicates` rows, without stage key, of the frames at these positions."""
    hashes, content = from_hex(frames["phash"]), frames["content_id"].to_numpy()
    hamming = np.bitwise_count(hashes[at] ^ hashes[leader]).astype(np.int32)
    same_bytes = content[at] == content[leader]
    agreement = cosine = pa.nulls(len(at), pa.float32())
    sure = 1 - np.minimum(hamming, 32) / 32
    if looks is not None and len(at) and params.uses == "layout":
        agreement = _agreements(looks, at, leader)
    elif looks is not None and len(at):
        near = _cosines(looks, at, leader)
        cosine = pa.array(near)
        sure = np.maximum(near, 0) if params.by == "embedding" else sure
    confidence = np.where(same_bytes, 1.0, 0.99 * sure).astype(np.float32)
    centres = frames.take(leader)
    given = {
        "input_id": pair_ids(content[at], content[leader], at != leader),
        **_keys(frames.take(at)),
        "group_id": group_ids(centres["stream_id"], centres["frame_idx"].to_numpy(), content[leader]),
        "is_representative": at == leader,
        "representative_stream": centres["stream_id"],
        "representative_idx": centres["frame_idx"],
        "hamming": hamming,
        "agreement": agreement,
        "cosine": cosine,
        "confidence": confidence,
    }
    return pa.table(given).select(schemas.DUPLICATES.file_schema.names).cast(schemas.DUPLICATES.file_schema)


def _agreements(layouts: Looks, at: Int64Array, leader: Int64Array) -> pa.Array:
    from transforms.curate.duplicates.hamming import agreements

    return pa.array(agreements(layouts.astype(np.uint8, copy=False), at, leader))


def _cosines(vectors: Looks, at: Int64Array, leader: Int64Array) -> npt.NDArray[np.float32]:
    from transforms.curate.duplicates.vector_groups import cosines

    return cosines(vectors.astype(np.float32, copy=False), at, leader)


def group_ids(streams: pa.ChunkedArray, frame_idx: Int64Array, content: Int64Array) -> pa.Array:
    """Return the group ids of these representatives, 16 hex digits: a hash of stream, frame index and content."""
    words = hash_strings(streams) ^ mix(frame_idx.view(np.uint64)) ^ (mix(content.view(np.uint64)) << np.uint64(1))
    return to_hex(mix(words))


def _gone(frames: pa.Table, standing: Int64Array, old: pa.Table) -> pa.Table:
    at = _positions(frames, old["stream_id"], old["frame_idx"])
    stands = at >= 0
    stands[stands] = standing[at[stands]] >= 0
    return old.filter(pc.invert(pa.array(stands)))
