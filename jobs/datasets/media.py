"""Images of an exported dataset: their names, and copying or linking them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from jobs.core.choices import MediaMode
from jobs.core.errors import RunFailedError, UserError
from jobs.core.naming import many
from transforms.formats.exports.folder_names import folder_of, image_name
from transforms.frames.clip import KEY_PATTERN, Clip, FrameName
from transforms.frames.image import CorruptImageError, encode_jpeg, read_header
from transforms.frames.upright import upright
from transforms.io import object_store
from transforms.io.frame_bytes import read_frame
from transforms.io.recordings.recorded_frame import RECORDED_PATTERN

_SHOWN = 3
_READERS = 4
_REPORT_S = 0.5

Level = Literal["split", "stream"]
"""What images are put into folders by."""


class _Item(NamedTuple):
    source: str
    name: str
    expected: str


def named(rows: pa.Table, media: MediaMode, folder: str, images: pa.Array, below: Sequence[Level]) -> pa.Table:
    """Add `file_name` (below the export, or the image's location), `source` (its location) and its `expected` hash.

    Images are in `folder`, in subfolders by what `below` names, the outermost first.

    Frames of clips become JPEG files named by their number; those of recordings are named so too, and are what their
    messages hold. `images` has the paths of those that are files already, null for others. Raises `UserError` if
    something that is not a file is to be linked.
    """
    sources = rows["uri"]
    if media == "none":
        return (
            rows.append_column("file_name", sources).append_column("source", sources).append_column("expected", sources)
        )
    of_clip = pc.match_substring_regex(sources, KEY_PATTERN)
    recorded = pc.struct_field(pc.extract_regex(sources, RECORDED_PATTERN), "suffix")
    is_part = pc.or_(of_clip, pc.is_valid(recorded))
    is_object = pc.starts_with(pc.coalesce(images, sources), object_store.SCHEME)
    if media == "link" and pc.any(is_object).as_py():
        raise UserError("objects in a bucket are no files that can be linked to; use --media copy")
    if media == "link" and pc.any(pc.and_(is_part, pc.is_null(images))).as_py():
        raise UserError(
            "frames of clips and recordings are no files that can be linked to; use --media copy, or run clips with "
            "--set ingest.materialize=jpeg"
        )
    streams = pc.dictionary_encode(rows["stream_id"]).combine_chunks()
    folders = pa.array([folder_of(name) for name in streams.dictionary.to_pylist()], pa.string()).take(streams.indices)
    levels = {"split": rows["split"], "stream": folders}
    parent = pc.binary_join_element_wise(folder.rstrip("/"), *(levels[level] for level in below), "/")
    own = _encoded(pc.struct_field(pc.extract_regex(sources, r"(?P<name>[^/\\]+)$"), "name"))
    numbers = pc.utf8_lpad(pc.cast(rows["frame_idx"], pa.string()), 8, "0")
    made = pc.binary_join_element_wise("frame_", numbers, pc.coalesce(recorded, pa.scalar(".jpg")), "")
    names = pc.binary_join_element_wise(parent, pc.if_else(is_part, made, own), "/")
    # The name of an image ends in the hash of its bytes, or in its first digits.
    written = pc.struct_field(pc.extract_regex(images, r"-(?P<hash>[0-9a-f]+)\.jpg$"), "hash")
    return (
        rows.append_column("file_name", names)
        .append_column("source", pc.coalesce(images, sources))
        .append_column("expected", pc.coalesce(written, rows["content_hash"]))
    )


def _encoded(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return names of files with what breaks lines encoded."""
    unlike = pc.match_substring_regex(names, "[\\pC%\u2028\u2029]")
    if not pc.any(unlike).as_py():
        return names
    found = [name and image_name(name) for name in names.to_pylist()]
    return pa.chunked_array([pa.array(found, names.type)])


class _Counter:
    """Counts images that threads are through with, until somebody says that it is over."""

    def __init__(self) -> None:
        self.is_over = False
        self._n = 0
        self._lock = Lock()

    def counted(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield items, and count each when the next one is requested."""
        for item in items:
            if self.is_over:
                return
            yield item
            with self._lock:
                self._n += 1

    def new(self) -> int:
        """Return how many were counted since the last call."""
        with self._lock:
            found, self._n = self._n, 0
        return found


def bring(
    rows: pa.Table, media: MediaMode, folder: Path, on_images_done: Callable[[int], None] = lambda _: None
) -> int:
    """Copy or link the images after verifying their content, and return how many of them EXIF turns.

    `on_images_done` is called about twice a second with the number of images since its last call; what it raises ends
    the copying.

    Boxes are those of images as displayed. So copies are stored as they are displayed, without an orientation, and
    every reader has the pixels that the boxes are of; links are as they are. Raises `RunFailedError` for images that
    have changed.
    """
    if media == "none":
        return 0
    columns = [rows[n].to_pylist() for n in ("source", "file_name", "expected")]
    for name in {Path(n).parent for n in columns[1]}:
        (folder / name).mkdir(parents=True, exist_ok=True)
    items = [_Item(*values) for values in zip(*columns, strict=True)]

    turned: list[str] = []
    counter = _Counter()

    def bring_some(some: Sequence[_Item]) -> list[str]:
        clip = FrameName.parse(some[0].source)
        items = counter.counted(some)
        return list(_extract(clip.path, items, folder) if clip else _copy_or_link(items, media, folder, turned))

    readers = ThreadPoolExecutor(_READERS)
    try:
        begun = [readers.submit(bring_some, some) for some in _portions(items)]
        wrong = []
        reported_s = time.monotonic()
        for portion in begun:
            while not portion.done() or time.monotonic() - reported_s >= _REPORT_S:
                wait([portion], max(0.0, reported_s + _REPORT_S - time.monotonic()))
                if time.monotonic() - reported_s >= _REPORT_S:
                    reported_s = time.monotonic()
                    on_images_done(counter.new())
            wrong += portion.result()
        on_images_done(counter.new())
    finally:
        counter.is_over = True
        readers.shutdown(cancel_futures=True)
    if wrong:
        more = [f"… and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        text = f"{many(len(wrong), 'image', 'differ')} from the tables; restore them, or run their streams again:"
        raise RunFailedError([text, *wrong[:_SHOWN], *more])
    return len(turned)


def _portions(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Yield files one by one, and adjacent frames of a clip together, since they are decoded in one pass."""

    def place(item: _Item) -> str:
        name = FrameName.parse(item.source)
        return name.path if name else item.source

    for _, some in groupby(items, place):
        yield list(some)


def _copy_or_link(items: Iterable[_Item], media: MediaMode, folder: Path, turned: list[str]) -> Iterator[str]:
    """Copy or link files; yield a message for each problem, and add those that EXIF turns to `turned`."""
    for source, name, expected in items:
        try:
            data = read_frame(source).data
        except OSError as error:
            yield f"{source}: {error.strerror or error}"
            continue
        if not blake3(data).hexdigest().startswith(expected):
            yield f"{source}: its bytes have changed since it was measured"
            continue
        try:
            if read_header(data).orientation != 1:
                turned.append(name)
            if media == "link":
                (folder / name).symlink_to(source)
            else:
                (folder / name).write_bytes(upright(data) or data)
        except CorruptImageError as error:
            yield f"{source}: {error}"


def _extract(path: str, items: Iterable[_Item], folder: Path) -> Iterator[str]:
    """Write frames of a clip as JPEG; yield a message for each problem."""
    try:
        with Clip(path) as clip:
            for source, name, expected in items:
                wanted = FrameName.parse(source)
                assert wanted is not None
                try:
                    frame = clip.frame(wanted)
                except CorruptImageError as error:
                    yield f"{source}: {error}"
                    continue
                if frame.digest().hex() != expected:
                    yield f"{source}: the clip has changed since it was measured"
                    continue
                (folder / name).write_bytes(encode_jpeg(frame.color()))
    except OSError as error:
        yield f"{path}: {error.strerror or error}"
