"""From the names of files to an ordered sequence of frames."""

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
    """Which files are frames, and how they follow one another.

    A frame is a file whose name ends in a number and an image extension, `image_17.jpg` or `000017.png`; order is by
    that number. Names that begin with a dot are those of no frames.

    `glob`: a pattern that file names must match as well.
    `strict_sequence`: two files with one number stop the run; if false, both are skipped and counted.
    `step`: how far apart the numbers of two frames may lie that follow one another. None takes what is usual in the
    stream, as `stride` has it: 1 for ordinary streams, 10 where every tenth frame was recorded, 34 for timestamps in
    milliseconds at 30 frames a second.
    `nested`: what to do where folders below a folder of frames hold frames as well, or clips lie there, thumbnails
    perhaps or streams of their own: stop the run, or leave them alone.
    `fps`: which frames of a clip are taken: `native` takes all, `keyframes` those that need no other to be decoded, a
    number so many per second of presentation time. A frame's number is its place among all frames of the clip,
    whichever are taken.
    `unreadable`: what to do about clips that are none, or cannot be read: stop the run, or go on without them; the next
    run tries them again.
    `materialize`: `jpeg` writes the frames of clips that are taken as files into the workspace, for other programs and
    for exports that link to them. Nothing needs it: measures, models and exports take frames from the clip itself.
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
    """The files of a folder as a sequence.

    `chosen` are positions into the given names, in order of frame number, and `frame_idx` these numbers, both shape
    (N,). `n_ignored` files are no frames. `repeated` maps a number to the several names that carry it; they are not
    among the chosen.
    """

    chosen: Int64Array
    frame_idx: Int64Array
    n_ignored: int
    repeated: dict[int, list[str]]


class FrameNumberError(ValueError):
    """A file name's number is too large for 63 bits."""


def order_files(names: pa.Array, glob: str) -> FrameFiles:
    """Pick the frames among file names and put them in order of their numbers, never of their names."""
    number = pc.struct_field(pc.extract_regex(names, _FRAME_NAME), "number")
    # What is hidden is somebody's note on a frame, ._image_0.jpg say, or a copy half made.
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
    """Return how far apart the numbers of frames that follow one another lie, given sorted frame numbers.

    Where more than three in four of the differences are about alike, within half of their median, it is the largest of
    these: neither a few numbers between the others nor clocks that jitter make gaps of what is none. Else it is the
    greatest common divisor of all. It is 1 for fewer than eight frames, of whose differences nothing can be said.
    """
    if len(frame_idx) < _FEWEST_FOR_STRIDE:
        return 1
    apart = np.diff(frame_idx)
    usual = int(np.percentile(apart, 50, method="lower"))
    alike = apart[(apart > usual / 2) & (apart < usual * 1.5)]
    return int(alike.max() if 4 * len(alike) > 3 * len(apart) else np.gcd.reduce(apart))


def follows(frame_idx: Int64Array, step: int) -> npt.NDArray[np.bool_]:
    """Mark the frames whose predecessor is there, shape (N,), for sorted numbers of one stream."""
    result = np.zeros(len(frame_idx), np.bool_)
    result[1:] = np.diff(frame_idx) <= step
    return result


def spans(frame_idx: Int64Array, n_frames: int) -> list[tuple[int | None, int | None]]:
    """Cut sorted frame numbers into spans of so many frames: first number, and the one after the last.

    The outermost spans reach to infinity (None), so that every number lies in one of them.
    """
    cuts = frame_idx[n_frames::n_frames].tolist()
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def gaps(frame_idx: Int64Array, step: int) -> list[dict[str, int]]:
    """Return the missing numbers between sorted frame numbers as intervals, both ends included."""
    at = np.flatnonzero(np.diff(frame_idx) > step)
    starts, ends = frame_idx[at] + step, frame_idx[at + 1] - step
    return [{"start": start, "end": max(start, end)} for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def n_missing(intervals: list[dict[str, int]], step: int) -> int:
    """Return how many frame numbers lie in gaps."""
    return sum((gap["end"] - gap["start"]) // step + 1 for gap in intervals)
