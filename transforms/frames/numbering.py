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

Int64Array = npt.NDArray[np.int64]

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
_FRAME_NAME = rf"(?i)(?:^|[^0-9])(?P<number>[0-9]+)\.(?:{'|'.join(EXTENSIONS)})$"
_MOST_DIGITS = 19
_LARGEST = str(2**63 - 1)
_FEWEST_FOR_STRIDE = 8


@dataclass(frozen=True)
class IngestParams:
    """Which files are frames, and how they form a sequence.

    A frame is a file whose name ends in a number and an image extension, `image_17.jpg` or `000017.png`; frames are
    ordered by that number. Files whose names begin with a dot are ignored.

    `glob`: a pattern that file names must also match.
    `strict_sequence`: two files with the same number stop the run; if false, both are skipped and counted.
    `step`: the largest difference between the numbers of two consecutive frames. None takes the usual difference of the
    stream, as `stride` computes it: 1 for ordinary streams, 10 where every tenth frame was recorded, 34 for timestamps
    in milliseconds at 30 frames a second.
    `nested`: what to do where a folder of frames also holds clips, or subfolders with frames (thumbnails, or streams of
    their own): stop the run, or ignore them.
    `fps`: which frames of a clip are used: `native` uses all, `keyframes` those that are decoded without others, a
    number so many per second of presentation time. A frame's number is its position among all frames of the clip,
    whichever are used.
    `unreadable`: what to do about files with a clip's extension that are no clips or cannot be read: stop the run, or
    continue without them; the next run tries them again.
    `materialize`: `jpeg` writes the sampled frames of clips as files into the workspace, for other programs and for
    exports that link to them. No stage needs it: measures, models and exports read frames from the clip itself.
    """

    glob: str = "*"
    strict_sequence: bool = True
    step: Annotated[int, Ge(1)] | None = None
    nested: Literal["refuse", "skip"] = "refuse"
    fps: Annotated[float, Gt(0)] | Literal["native", "keyframes"] = "native"
    unreadable: Literal["stop", "skip"] = "stop"
    materialize: Literal["none", "jpeg"] = "none"


@dataclass(frozen=True)
class FrameFiles:
    """The files of a folder as a sequence of frames.

    `chosen` are positions in the list of names, in order of frame number, and `frame_idx` these numbers, both int64 of
    shape (N,). `n_ignored` is the number of files that are no frames. `repeated` maps a number to the names that share
    it; these files are not in `chosen`.
    """

    chosen: Int64Array
    frame_idx: Int64Array
    n_ignored: int
    repeated: dict[int, list[str]]


class FrameNumberError(ValueError):
    """The number in a file name does not fit in a signed 64-bit integer."""


def order_files(names: pa.Array, glob: str) -> FrameFiles:
    """Select the frames among file names and order them by their numbers."""
    number = pc.struct_field(pc.extract_regex(names, _FRAME_NAME), "number")
    # Hidden files are metadata of a frame, such as ._image_0.jpg, or incomplete copies.
    number = pc.if_else(pc.starts_with(names, "."), None, number)
    if glob != "*":
        fits = pa.array([fnmatch.fnmatchcase(name, glob) for name in names.to_pylist()], pa.bool_())
        number = pc.if_else(fits, number, None)
    is_frame = np.flatnonzero(pc.is_valid(number).to_numpy(zero_copy_only=False))
    digits = pc.utf8_ltrim(number.drop_null(), "0")
    lengths = pc.utf8_length(digits)
    too_large = pc.or_(
        pc.greater(lengths, _MOST_DIGITS), pc.and_(pc.equal(lengths, _MOST_DIGITS), pc.greater(digits, _LARGEST))
    )
    if pc.any(too_large).as_py():
        name = names[int(is_frame[pc.index(too_large, True).as_py()])].as_py()
        raise FrameNumberError(f"the number in {name!r} is above {_LARGEST}")
    index = pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64()).to_numpy()
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
    return FrameFiles(chosen[~repeat], index[~repeat], len(names) - len(is_frame), repeated)


def stride(frame_idx: Int64Array) -> int:
    """Return the usual difference between consecutive frame numbers, given sorted int64 numbers, shape (N,).

    If more than three in four of the differences are within half of their median, it is the largest of these, so that
    neither a few extra frames nor jitter of clocks produce gaps. Otherwise it is the greatest common divisor of all
    differences. It is 1 for fewer than eight frames, too few for an estimate.
    """
    if len(frame_idx) < _FEWEST_FOR_STRIDE:
        return 1
    apart = np.diff(frame_idx)
    usual = int(np.percentile(apart, 50, method="lower"))
    alike = apart[(apart > usual / 2) & (apart < usual * 1.5)]
    return int(alike.max() if 4 * len(alike) > 3 * len(apart) else np.gcd.reduce(apart))


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
