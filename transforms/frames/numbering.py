"""Frame numbers from file names, and the sequence, steps and gaps of a stream."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Gt

from transforms.frames.name_pattern import IMAGE_SUFFIX, LAST_NUMBER, NamePattern

Int64Array = npt.NDArray[np.int64]

_FEWEST_FOR_STRIDE = 8
# Times do not come one after the other, as numbers do.
_FEWEST_TIMES = 3


@dataclass(frozen=True)
class IngestParams:
    """Which files are frames, and how they form a sequence.

    A frame is an image file whose name says its place in the stream: `image_17.jpg`, `000017.png`,
    `gate_2024-01-15_10-30-47.jpg`. Frames are ordered by that number or time. Files whose names begin with a dot are
    ignored.

    `glob`: a pattern that file names must also match.
    `name`: how names are read, as in `{stream}_{time:%Y-%m-%d_%H-%M-%S}` or `take{sequence}_{index}`: a pattern of
    whole names without extension. `{index}` is a frame's number, `{time:FORMAT}` its time, `{sequence}` a number that
    comes before these, `{stream}` a text that divides the folder into streams, `{any}` any text. None finds the pattern
    from the names, and keeps the one by which a stream was read before.
    `times`: a table with the times of the frames of a folder: a CSV file, its path, or its name in the folder or in the
    one above. One column holds names of files and another times; without names, it has one line per frame, in order.
    `timezone`: the time zone of the clocks that dates in names, tables of times and EXIF data are from, as in
    `Europe/Berlin` or `+02:00`, unless they have an offset from UTC of their own. None takes them as if they were UTC.
    A time that occurs twice, since clocks are set back, is the first of these, or the second from where the times fall
    within that hour; one that never occurs is read with the offset from before the change. Numbers of frames are the
    same in any time zone.
    `strict_sequence`: two files with the same number stop the run; if false, both are skipped and counted.
    `step`: the largest difference between the numbers of two consecutive frames. None takes the usual difference of the
    stream, as `stride` computes it: 1 for ordinary streams, 10 where every tenth frame was recorded, 34 for timestamps
    in milliseconds at 30 frames a second.
    `nested`: what to do where a folder of frames also holds clips, or subfolders with frames (thumbnails, or streams of
    their own): stop the run, or ignore them.
    `fps`: which frames are used: `native` uses all, `keyframes` those of a clip that are decoded without others, a
    number so many per second of presentation time, or, in a folder, of the time that names, `times` or else EXIF say.
    The numbers of frames are the same whichever are used: in a clip, a frame's position among all.
    `stride`: every how many of the frames is used, from the first on.
    `unreadable`: what to do about files with a clip's extension that are no clips or cannot be read: stop the run, or
    continue without them; the next run tries them again.
    `topics`: which topics of a recording (MCAP, ROS bag) are streams: a pattern of their names, or several joined by
    commas, such as `/camera/*,/thermal/image_raw`. Topics without images never are.
    `materialize`: `jpeg` writes the sampled frames of clips as files into the workspace, for other programs and for
    exports that link to them. No stage needs it: measures, models and exports read frames from the clip itself.
    """

    glob: str = "*"
    name: str | None = None
    times: str | None = None
    timezone: str | None = None
    strict_sequence: bool = True
    step: Annotated[int, Ge(1)] | None = None
    nested: Literal["refuse", "skip"] = "refuse"
    fps: Annotated[float, Gt(0)] | Literal["native", "keyframes"] = "native"
    stride: Annotated[int, Ge(1)] = 1
    unreadable: Literal["stop", "skip"] = "stop"
    topics: str = "*"
    materialize: Literal["none", "jpeg"] = "none"


@dataclass(frozen=True)
class FrameFiles:
    """The files of a folder, or of one of its streams, as a sequence of frames.

    `chosen` are positions in the list of names, in order of frame number, `frame_idx` these numbers, both int64 of
    shape (N,), and `t_ns` the times in ns since 1970 that the names say, or None. `n_ignored` is the number of files
    that are no frames. `repeated` maps a number to the names that share it; these files are not in `chosen`.
    """

    chosen: Int64Array
    frame_idx: Int64Array
    n_ignored: int
    repeated: dict[int, list[str]]
    t_ns: Int64Array | None = None


def are_images(names: pa.Array, glob: str) -> pa.Array:
    """Return which names are those of images that may be frames, bool, shape (N,)."""
    # Hidden files are metadata of a frame, such as ._image_0.jpg, or incomplete copies.
    found = pc.and_(pc.match_substring_regex(names, IMAGE_SUFFIX), pc.invert(pc.starts_with(names, ".")))
    if glob != "*":
        found = pc.and_(found, pa.array([fnmatch.fnmatchcase(name, glob) for name in names.to_pylist()], pa.bool_()))
    return found


def order_files(names: pa.Array, glob: str, pattern: NamePattern = LAST_NUMBER) -> FrameFiles:
    """Select the frames among file names and order them by their numbers, as one stream.

    Raises `FrameNameError` for a name whose number or time there cannot be.
    """
    found = divide_files(names, glob, pattern)
    if not found:
        return FrameFiles(np.empty(0, np.int64), np.empty(0, np.int64), len(names), {})
    (files,) = found.values()
    return files


def divide_files(names: pa.Array, glob: str, pattern: NamePattern) -> dict[str, FrameFiles]:
    """Select the frames among file names, and order those of each stream that the names tell apart.

    The streams are in order of name; without `{stream}` in the pattern, the one stream is called "". Raises
    `FrameNameError` as `order_files` does.
    """
    images = np.flatnonzero(are_images(names, glob).to_numpy(zero_copy_only=False))
    read = pattern.read(names.take(pa.array(images)))
    is_frame = images[read.at]
    n_ignored = len(names) - len(is_frame)
    if not len(is_frame):
        return {}
    if read.stream is None:
        return {"": _ordered(names, is_frame, read.frame_idx, read.t_ns, n_ignored)}
    codes = read.stream.dictionary_encode()
    found = {}
    for code, label in sorted(enumerate(codes.dictionary.to_pylist()), key=lambda item: str(item[1])):
        own = np.flatnonzero(codes.indices.to_numpy() == code)
        t_ns = None if read.t_ns is None else read.t_ns[own]
        found[label] = _ordered(names, is_frame[own], read.frame_idx[own], t_ns, n_ignored)
    return found


def _ordered(
    names: pa.Array, is_frame: Int64Array, index: Int64Array, t_ns: Int64Array | None, n_ignored: int
) -> FrameFiles:
    order = np.argsort(index, kind="stable")
    chosen, index = is_frame[order], index[order]
    same = index[1:] == index[:-1]
    repeat = np.zeros(len(index), np.bool_)
    repeat[1:] |= same
    repeat[:-1] |= same
    repeated: dict[int, list[str]] = {}
    for at in np.flatnonzero(repeat):
        repeated.setdefault(int(index[at]), []).append(names[int(chosen[at])].as_py())
    for clashing in repeated.values():
        clashing.sort()
    times = None if t_ns is None else t_ns[order][~repeat]
    return FrameFiles(chosen[~repeat], index[~repeat], n_ignored, repeated, times)


def usual_step(frame_idx: Int64Array, pattern: NamePattern) -> int:
    """Return the largest difference between numbers of consecutive frames, given sorted int64 numbers, shape (N,).

    That is `stride` of all, but where the names hold sequences, of the frames within these; and where they hold a time
    and count the frames within it, at least one unit of that time: the first frame of a second follows the last one of
    the second before. Of times that follow no rate, as of images that an event triggers, it is half as much again as
    the difference that nine in ten do not exceed.
    """
    if pattern.has_sequences and pattern.room > 1 and len(frame_idx):
        apart = np.diff(frame_idx)[np.diff(frame_idx // pattern.room) == 0]
        return min(stride(np.concatenate([[0], np.cumsum(apart)])), pattern.room - 1)
    usual = _stride_of_times(frame_idx) if pattern.has_times else stride(frame_idx)
    return max(usual, pattern.room) if pattern.counts_within_time else usual


def _stride_of_times(frame_idx: Int64Array) -> int:
    if len(frame_idx) < _FEWEST_TIMES:
        return 1
    apart = np.diff(frame_idx)
    alike = _alike(apart)
    if _are_most(alike, apart):
        return int(alike.max())
    return max(1, int(np.percentile(apart, 90, method="lower") * 1.5))


def stride(frame_idx: Int64Array) -> int:
    """Return the usual difference between consecutive frame numbers, given sorted int64 numbers, shape (N,).

    If more than three in four of the differences are within half of their median, it is the largest of these, so that
    neither a few extra frames nor jitter of clocks produce gaps. Otherwise it is the greatest common divisor of all
    differences. It is 1 for fewer than eight frames, too few for an estimate.
    """
    if len(frame_idx) < _FEWEST_FOR_STRIDE:
        return 1
    apart = np.diff(frame_idx)
    alike = _alike(apart)
    return int(alike.max() if _are_most(alike, apart) else np.gcd.reduce(apart))


def _alike(apart: Int64Array) -> Int64Array:
    """Return the differences within half of their median."""
    usual = int(np.percentile(apart, 50, method="lower"))
    found: Int64Array = apart[(apart > usual / 2) & (apart < usual * 1.5)]
    return found


def _are_most(alike: Int64Array, apart: Int64Array) -> bool:
    return 4 * len(alike) > 3 * len(apart)


def follows(frame_idx: Int64Array, step: int) -> npt.NDArray[np.bool_]:
    """Mark the frames whose predecessor exists, shape (N,), bool, given sorted frame numbers of one stream."""
    result = np.zeros(len(frame_idx), np.bool_)
    result[1:] = np.diff(frame_idx) <= step
    return result


def spans(frame_idx: Int64Array, n_frames: int) -> list[tuple[int | None, int | None]]:
    """Split sorted frame numbers into spans of `n_frames` frames, as half-open intervals of frame numbers.

    The first span has no lower bound and the last one no upper bound (None), so that every number is in a span.
    """
    cuts = frame_idx[n_frames::n_frames].tolist()
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def gaps(frame_idx: Int64Array, step: int) -> list[dict[str, int]]:
    """Return the missing numbers between sorted frame numbers as intervals, both ends inclusive."""
    at = np.flatnonzero(np.diff(frame_idx) > step)
    starts, ends = frame_idx[at] + step, frame_idx[at + 1] - step
    return [{"start": start, "end": max(start, end)} for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def n_missing(intervals: list[dict[str, int]], step: int) -> int:
    """Return how many frames are missing in the intervals that `gaps` returns."""
    return sum((gap["end"] - gap["start"]) // step + 1 for gap in intervals)


def n_missing_of(intervals: list[dict[str, int]], step: int, pattern: NamePattern) -> int:
    """Return how many frames are missing in intervals; none between two sequences, whose numbers have room to spare."""
    if pattern.has_sequences:
        room = pattern.room
        intervals = [gap for gap in intervals if (gap["start"] - step) // room == (gap["end"] + step) // room]
    return n_missing(intervals, step)


def sample_times(t_ns: Int64Array, per_second: float) -> Int64Array:
    """Return the positions of frames at a steady rate, ascending, int64, given their times in ns, shape (N,).

    Of the frames within each period, counted from 1970 on, that is the first: files that arrive later change nothing of
    those before.
    """
    period = max(1, round(1e9 / per_second))
    _, first = np.unique(t_ns // period, return_index=True)
    return np.sort(first).astype(np.int64)
