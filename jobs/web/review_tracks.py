"""Tracks that people draw at keyframes, as edits of each frame between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blake3 import blake3

from jobs.editing.errors import InvalidEditError
from jobs.editing.frame_states import next_track
from jobs.editing.tracks import Keyframe, TrackedBox, interpolated
from jobs.web.plain import number
from jobs.web.review_bulk import FrameEdit, record_all
from jobs.web.reviews import Participant, Review

_MOST_FRAMES = 5000


def record_track(
    review: Review,
    event_id: str,
    stream: str,
    track_id: int | None,
    category: str,
    keyframes: Sequence[Keyframe],
    objects: Mapping[str, str],
    person: Participant,
) -> dict[str, Any]:
    """Store a track as a box on each frame of its stream from the first keyframe to the last.

    `objects`: the boxes of the track that are there already, by frame number; they move, and those on frames that the
    track has left are deleted. The answer is that of edits in bulk, with `track_id` and the object of each frame.
    """
    numbers = [keyframe.idx for keyframe in keyframes]
    if numbers != sorted(set(numbers)):
        raise InvalidEditError("keyframes: expected each frame once, in order")
    shown = review.shown()
    keys = shown.frames.keys
    of_stream = keys.numbers[keys.rows_of(stream)]
    there = of_stream[(of_stream >= numbers[0]) & (of_stream <= numbers[-1])].tolist()
    if missing := [idx for idx in numbers if idx not in set(there)]:
        raise InvalidEditError(f"keyframes: stream {stream[:100]!r} has no frame {missing[0]}")
    if len(there) > _MOST_FRAMES:
        raise InvalidEditError(
            f"keyframes: expected at most {_MOST_FRAMES:,} frames between them, found {len(there):,}"
        )
    if track_id is None:
        with review.database.read() as connection:
            track_id = next_track(connection, review.project, event_id)
    boxes = {box.idx: box for box in interpolated(keyframes, there)}
    edits, names = [], {}
    for idx in sorted({*boxes, *map(int, objects)}):
        row = keys.find(stream, idx)
        if row is None:
            continue
        known = objects.get(str(idx))
        name = known or "track-" + blake3(f"{stream}\x1f{track_id}\x1f{idx}".encode()).hexdigest()[:24]
        op = _op(name, known is not None, boxes.get(idx), category, track_id)
        edits.append(FrameEdit((stream, idx), shown.frames.hashes([row])[0], (op,)))
        names[number(idx)] = name
    found = record_all(review, event_id, "edit", edits, person)
    applied = [{**each, "object_id": names[each["idx"]]} for each in found["applied"]]
    return {"track_id": number(track_id), "applied": applied, "refused": found["refused"]}


def _op(name: str, is_known: bool, box: TrackedBox | None, category: str, track_id: int) -> dict[str, Any]:
    if box is None:
        return {"op": "delete", "object_id": name}
    fields = {
        "object_id": name,
        "category": category,
        "bbox": list(box.bbox),
        "rotation": box.rotation,
        "track_id": track_id,
        "keyframe": box.is_keyframe,
    }
    return {"op": "set" if is_known else "add", **fields}
