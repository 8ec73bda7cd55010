"""WebDataset export, tar files of images with JSON documents: https://github.com/webdataset/webdataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from transforms.formats.exports.objects import Objects

SHARD_FRAMES = 1000
_OF_FRAME = ("stream_id", "frame_idx", "content_hash", "width", "height")
_OF_OBJECT = ("annotation_id", "category", "label", "score", "mask_rle", "track_id", "text")
_OF_OBJECT_BY_PEOPLE = ("rotation", "polygons", "is_crowd", "attributes")


def shards(
    rows: pa.Table, splits: Sequence[str], objects: Objects | None, read: Callable[[str], bytes]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of `SPLIT-NUMBER.tar`, up to 1000 frames each, in order; `read` returns an image's bytes.

    A sample is named by its frame's position in the export, from 1. Empty splits have no shard.
    """
    there = objects or Objects.none()
    listed = rows.select([n for n in (*_OF_FRAME, "file_name", "split") if n in rows.column_names]).to_pylist()
    for split in sorted(splits):
        chosen = [(row, frame) for row, frame in enumerate(listed) if frame["split"] == split]
        for number, first in enumerate(range(0, len(chosen), SHARD_FRAMES)):
            yield f"{split}-{number:06d}.tar", _shard(chosen[first : first + SHARD_FRAMES], there, read)


def _shard(frames: Sequence[tuple[int, dict[str, Any]]], objects: Objects, read: Callable[[str], bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for row, frame in frames:
            suffix = PurePosixPath(frame["file_name"]).suffix.lower()
            document = {name: frame[name] for name in _OF_FRAME if name in frame}
            document["objects"] = [
                {name: each[name] for name in (*_OF_OBJECT, *_OF_OBJECT_BY_PEOPLE) if each.get(name) is not None}
                | {"bbox": [each[n] for n in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")]}
                for each in objects.of(row)
            ]
            text = json.dumps(document, separators=(",", ":")).encode() + b"\n"
            for end, data in ((suffix, read(frame["file_name"])), (".json", text)):
                entry = tarfile.TarInfo(f"{row + 1:09d}{end}")
                # No owner and no time, so that the same frames give the same bytes.
                entry.size, entry.mtime, entry.mode = len(data), 0, 0o644
                archive.addfile(entry, io.BytesIO(data))
    return sink.getvalue()
