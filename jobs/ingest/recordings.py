"""Listing of recordings of robots and vehicles: each topic with images is a stream."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.core.errors import one_line
from jobs.ingest.clips import NO_FRAMES, listed_before, sampling_text
from jobs.ingest.stream_listing import StreamFiles
from jobs.storage.paths import Place
from jobs.storage.store import Snapshot
from transforms.core.identity import is_racy, stat_ids
from transforms.frames.numbering import IngestParams, sample_times
from transforms.io.recordings import recorded_frame
from transforms.io.recordings.image_messages import (
    VIDEO_FORMATS,
    ImageMessage,
    calibration_in,
    holds_images,
    image_in,
    is_calibration,
)
from transforms.io.recordings.messages import Places, Recording, RecordingError

_SHOWN = 5


@dataclass(frozen=True)
class _File:
    """A recording as listed now: its place, and what each of its streams says of it."""

    stream_id: str
    path: Place
    described: dict[str, Any]
    mtime_ns: int


def list_recording(
    stream_id: str, path: Place, params: IngestParams, known: Mapping[str, Mapping[str, Any]], seen: Snapshot
) -> list[StreamFiles]:
    """Return a recording's topics with images as streams, `STREAM_ID/TOPIC`.

    A frame's number is its position among the messages of the topic in the order of the times at which they were
    recorded, which are the frames' times. `known` are the rows of `streams` by id, and `seen` the table `listing`: a
    recording that was listed with the same size, mtime and settings is not read again. One that cannot be read is one
    stream without frames, with the reason in its row.
    """
    sampling = sampling_text(params) + ("" if params.topics == "*" else f", topics {params.topics}")
    described: dict[str, Any] = {"kind": "recording", "sampling": sampling, "listed_ns": time.time_ns()}
    before = {name: row for name, row in known.items() if row["uri"] == str(path) and row["part"]}
    try:
        version = recorded_frame.version_of(str(path))
    except FileNotFoundError:
        return [
            StreamFiles.of(name, str(path), NO_FRAMES, **described, step=1, part=row["part"])
            for name, row in before.items()
        ]
    except OSError as error:
        return [_unreadable(stream_id, path, described, f"it cannot be read: {error.strerror or error}")]
    uri = pa.array([str(path)])
    racy = is_racy(version.mtime_ns, described["listed_ns"], version.changed_ns)
    id_ = int(stat_ids(uri, np.array([version.size_bytes]), np.array([version.mtime_ns]))[0])
    described["source_id"] = None if racy else id_
    if (same := None if racy else _unchanged(path, described, before, seen)) is not None:
        return same
    file = _File(_base(stream_id, before), path, described, version.mtime_ns)
    try:
        recording = recorded_frame.open_recording(str(path))
        try:
            return _streams(file, recording, params, before)
        finally:
            recording.close()
    except ModuleNotFoundError as error:
        why = f"the package {error.name} is not installed; it comes with: pip install 'winnow[recordings]'"
    except OSError as error:
        why = one_line(error)
    return [_unreadable(stream_id, path, described, why)]


def _unchanged(
    path: Place, described: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]], seen: Snapshot
) -> list[StreamFiles] | None:
    """Return the streams as they were listed before, or None where the file or the settings are others now."""
    if not all(row[n] == described[n] for row in before.values() for n in ("sampling", "source_id")):
        return None
    found = [listed_before(name, path, row, seen) for name, row in before.items()]
    streams = [stream for stream in found if stream is not None]
    return streams if streams and len(streams) == len(before) else None


def _base(stream_id: str, before: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the id of a recording, given its own or, if it is listed since it vanished, that of one of its topics."""
    part = before.get(stream_id, {}).get("part")
    return stream_id.removesuffix(f"/{_label(part)}") if part else stream_id


def _label(topic: str) -> str:
    """Return a topic as the end of a stream id."""
    return "/".join(part for part in topic.split("/") if part) or "images"


def _unreadable(stream_id: str, path: Place, described: Mapping[str, Any], why: str) -> StreamFiles:
    return StreamFiles.of(stream_id, str(path), NO_FRAMES, **(dict(described) | {"source_id": None}), step=1, error=why)


def _streams(
    file: _File, recording: Recording, params: IngestParams, before: Mapping[str, Mapping[str, Any]]
) -> list[StreamFiles]:
    with_images = sorted({channel.topic for channel in recording.channels if holds_images(channel)})
    chosen = [t for t in with_images if any(fnmatch.fnmatchcase(t, one.strip()) for one in params.topics.split(","))]
    if not chosen:
        return [_unreadable(file.stream_id, file.path, file.described, _without(with_images, recording, params))]
    found = [_stream(file, recording, topic, params) for topic in chosen]
    labels = {stream.row["part"] for stream in found}
    # A topic that is left out now, or missing, has no frames any more.
    found += [
        StreamFiles.of(name, str(file.path), NO_FRAMES, **file.described, step=1, part=row["part"])
        for name, row in before.items()
        if row["part"] not in labels
    ]
    return found


def _without(with_images: list[str], recording: Recording, params: IngestParams) -> str:
    if with_images:
        return f"expected topics that match ingest.topics={params.topics!r}, found {_some(with_images)}"
    others = sorted({f"{channel.topic} ({channel.type})" for channel in recording.channels})
    return f"expected a recording with topics that hold images, found {_some(others) if others else 'no messages'}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _stream(file: _File, recording: Recording, topic: str, params: IngestParams) -> StreamFiles:
    """Return one topic as a stream. Raises `RecordingError` where settings do not fit it."""
    places = recording.places(topic)
    order = recorded_frame.by_time(places)
    first = _first(recording, places)
    if params.fps == "keyframes" and first is not None and first.format in VIDEO_FORMATS:
        raise RecordingError(f"ingest.fps=keyframes does not fit {topic}, which holds video; give a number a second")
    t_ns = places.t_ns[order]
    used = np.arange(len(order)) if isinstance(params.fps, str) else sample_times(t_ns, params.fps)
    used = used[:: params.stride]
    at = order[used]
    ordered = Places(t_ns[used], places.block[at], places.offset[at], places.size_bytes[at])
    columns = (
        used,
        pa.array(recorded_frame.fragments(topic, ordered, first.suffix if first else ".jpg"), pa.string()),
        ordered.size_bytes,
        np.full(len(used), file.mtime_ns),
        ordered.t_ns,
    )
    return StreamFiles.of(
        f"{file.stream_id}/{_label(topic)}",
        str(file.path),
        pa.table(dict(zip(NO_FRAMES.column_names, columns, strict=True)), schema=NO_FRAMES.schema),
        **file.described,
        time_source="recording",
        part=topic,
        step=int(np.diff(used).max()) if len(used) > 1 else 1,
        frame_id=(first.frame_id or None) if first else None,
        camera_info=_calibration(recording, topic),
    )


def _first(recording: Recording, places: Places) -> ImageMessage | None:
    """Return the first image of a topic that can be read; None if none of the first ones can."""
    for at in range(min(len(places), _SHOWN)):
        try:
            stored = recording.message(int(places.block[at]), int(places.offset[at]))
        except RecordingError:
            continue
        if (image := image_in(stored.channel, stored.data)) is not None:
            return image
    return None


def _calibration(recording: Recording, topic: str) -> str | None:
    """Return the calibration of the topic in the same namespace: that of `/front/image_raw` is in `/front/…`."""
    near = [one for one in recording.channels if is_calibration(one) and _namespace(one.topic) in _spaces_of(topic)]
    for channel in sorted(near, key=lambda one: -len(one.topic)):
        places = recording.places(channel.topic)
        if len(places):
            try:
                stored = recording.message(int(places.block[0]), int(places.offset[0]))
            except RecordingError:
                continue
            return calibration_in(stored.channel, stored.data)
    return None


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]


def _spaces_of(topic: str) -> list[str]:
    """Return the namespaces in which a topic's calibration may be: its own, and that of what it is compressed from."""
    own = _namespace(topic)
    return [own, _namespace(own)] if topic.endswith(("/compressed", "/compressedDepth", "/video")) else [own]
