"""Which frame an image of a dataset is: by equal bytes, by folders and name, or by its name alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import polars as pl
from blake3 import blake3

from jobs.ingest.label_import.dataset_files import IMAGES, common_parts, composed, suffix_of
from jobs.views.view import View
from transforms.formats.exports.folder_names import folder_of
from transforms.formats.reviewing.shapes import Returned, parse_name
from transforms.frames.clip import FrameName
from transforms.frames.image import CorruptImageError, Header, read_header
from transforms.frames.upright import is_displayed
from transforms.io.frame_bytes import read_frame
from transforms.io.recordings.recorded_frame import RecordedName

Row = dict[str, Any]
By = Literal["content", "path", "name"]
WAYS: tuple[By, ...] = ("content", "path", "name")

_COLUMNS = ("stream_id", "frame_idx", "content_hash", "width", "height", "uri", "format")
_PREFIX_DIGITS = 8
"""Digits that Label Studio puts before the names of uploaded files, followed by a hyphen."""


@dataclass(frozen=True)
class Matched:
    """The frames that one image is, several only where their bytes are equal, and how they were found.

    `header` is that of the image, where the dataset has it. `is_displayed`: whether an image without an orientation is
    a frame that has one as it is displayed, or, if false, as its pixels are stored; None for other images.

    Otherwise `problem` says why there is none; `is_missing`: the workspace has no such image.
    """

    rows: Sequence[Row] = ()
    by: By = "name"
    header: Header | None = None
    is_displayed: bool | None = None
    problem: str = ""
    is_missing: bool = False


def match_images(
    view: View, images: Sequence[Returned], image: Callable[[str], bytes | None], streams: Sequence[str] = ()
) -> list[Matched]:
    """Return for each image of a dataset what it is; `streams`: only frames of these, if there are any.

    `image` gives its bytes where the dataset has them and no hash of the frame: a frame of equal bytes is the image
    under any name, and a file of other bytes is not, unless it is a frame that EXIF turns without its EXIF. Without
    them, the frame counts whose path, or whose name in exports, has most folders in common with the name, from its end
    on; several with equally many are none. Frames of clips have the names that exports give them.
    """
    names = [each.name for each in images]
    hashed = {each.name: each.content_hash for each in images if each.content_hash}
    there = {name: _Image(digest, None) for name, digest in hashed.items()}
    others = [name for name in dict.fromkeys(names) if name not in there]
    there |= {name: _Image.of(data) for name in others if (data := image(name)) is not None}
    rows = view.lazy("frames").filter(pl.col("status") == "ok")
    if streams:
        rows = rows.filter(pl.col("stream_id").is_in(list(streams)))
    renamed = [each.other_name for each in images if each.other_name]
    index = _Index(rows.select(_COLUMNS), [*names, *renamed], {each.digest for each in there.values()})
    found = []
    for each in images:
        known, content = there.get(each.name), partial(_bytes_of, image, each.name)
        match = index.find(composed(each.name), known, content)
        if match.is_missing and each.other_name:
            other = index.find(composed(each.other_name), known, content)
            match = match if other.is_missing else other
        found.append(replace(match, header=known.header if known else None))
    return found


def _bytes_of(image: Callable[[str], bytes | None], name: str) -> bytes:
    return image(name) or b""


@dataclass(frozen=True)
class _Image:
    """The hash of a dataset's image, and its header; None where it has none that is known."""

    digest: str
    header: Header | None

    @classmethod
    def of(cls, data: bytes) -> _Image:
        try:
            return cls(blake3(data).hexdigest(), read_header(data))
        except CorruptImageError:
            return cls(blake3(data).hexdigest(), None)


class _Index:
    def __init__(self, frames: pl.LazyFrame, names: Sequence[str], digests: set[str]) -> None:
        wanted = {stem for name in names for stem in _stems(composed(name))}
        numbers = [parsed.number for name in names if (parsed := parse_name(name))]
        self._by_stem: dict[str, list[Row]] = {}
        self._by_hash: dict[str, list[Row]] = {}
        self._by_number: dict[int, list[Row]] = {}
        numbered = set(numbers)
        # Streamed, since a workspace can have many more frames than a dataset has images.
        for row in _rows(frames):
            recorded = RecordedName.parse(row["uri"])
            row["part_suffix"] = ".jpg" if FrameName.parse(row["uri"]) else recorded and recorded.suffix
            row["paths"] = paths = _paths(row)
            for stem in dict.fromkeys(_stem(path) for path in paths):
                if stem in wanted:
                    self._by_stem.setdefault(stem, []).append(row)
            if row["content_hash"] in digests:
                self._by_hash.setdefault(row["content_hash"], []).append(row)
            if row["frame_idx"] in numbered:
                self._by_number.setdefault(row["frame_idx"], []).append(row)

    def find(self, name: str, image: _Image | None, data: Callable[[], bytes]) -> Matched:
        if image and (same := self._by_hash.get(image.digest)):
            return Matched(_best(same, name)[1], "content")
        if (parsed := parse_name(name)) is not None:
            same = [r for r in self._by_number.get(parsed.number, []) if r["content_hash"].startswith(parsed.hash)]
            if same:
                best = _best(same, name)[1]
                turn = is_displayed(data(), file_of(best[0]) or b"") if image and not best[0]["part_suffix"] else None
                return Matched(best, "name", is_displayed=turn)
        for stem in _stems(name):
            candidates = self._by_stem.get(stem, [])
            suffix = suffix_of(name)
            exact = [row for row in candidates if any(suffix_of(path) == suffix for path in row["paths"])]
            if candidates := exact or candidates:
                return self._of_candidates(name, candidates, data if image else None)
        return Matched(problem=f"{name} is no frame of the workspace", is_missing=True)

    def _of_candidates(self, name: str, candidates: Sequence[Row], data: Callable[[], bytes] | None) -> Matched:
        parts, best = _best(candidates, name)
        if len(best) > 1:
            # Of `cam` and `site/cam`, exports name the first one's frames so.
            best = [row for row in best if any(common_parts(p, name) > p.count("/") for p in row["paths"])] or best
        if len(best) > 1:
            some = ", ".join(f"{row['stream_id']} {row['frame_idx']}" for row in best[:2])
            more = ", …" if len(best) > 2 else ""
            return Matched(
                problem=f"{name} could be any of {len(best)} frames ({some}{more}); name the camera with --stream"
            )
        way: By = "path" if parts > 1 else "name"
        if data and not best[0]["part_suffix"]:
            turn = is_displayed(data(), file_of(best[0]) or b"")
            if turn is not None:
                return Matched(best, way, is_displayed=turn)
            shown = f"frame {best[0]['stream_id']} {best[0]['frame_idx']}"
            return Matched(problem=f"{name} is another image than {shown} of that name", is_missing=True)
        return Matched(best, way)


def file_of(row: Mapping[str, Any]) -> bytes | None:
    """Return the file of a frame, with its `uri` and `content_hash`; None where it is missing or has changed."""
    try:
        data = read_frame(row["uri"]).data
    except OSError:
        return None
    return data if blake3(data).hexdigest() == row["content_hash"] else None


def _rows(frames: pl.LazyFrame) -> Iterator[Row]:
    for part in frames.collect().iter_slices(1 << 16):
        yield from part.iter_rows(named=True)


def _paths(row: Mapping[str, Any]) -> list[str]:
    """Return the names under which a frame is known: where it is, and where exports put it."""
    uri = composed(row["uri"])
    suffix = row["part_suffix"]
    last = f"frame_{row['frame_idx']:08d}{suffix}" if suffix else uri.rpartition("/")[2]
    stream = composed(row["stream_id"])
    exported = [f"{folder}/{last}" for folder in dict.fromkeys((stream, folder_of(stream)))]
    return exported if suffix else [uri, *exported]


def _best(rows: Sequence[Row], name: str) -> tuple[int, list[Row]]:
    """Return the rows that have the most parts in common with a name, from its end on, and how many."""
    scored = [(max(common_parts(path, name) for path in row["paths"]), row) for row in rows]
    most = max(score for score, _ in scored)
    return most, [row for score, row in scored if score == most]


def _stem(path: str) -> str:
    last = path.rpartition("/")[2]
    return last[: -len(suffix)] if (suffix := suffix_of(last)) in IMAGES else last


def _stems(name: str) -> Iterator[str]:
    """Yield the name of an image without folders and suffix, and without what Label Studio puts before it."""
    stem = _stem(name)
    yield stem
    digits, hyphen, rest = stem.partition("-")
    if hyphen and rest and len(digits) == _PREFIX_DIGITS and set(digits) <= set("0123456789abcdef"):
        yield rest
