"""Reviewed frames whose files say another size than was sent: that of the pixels as stored, before EXIF turns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import polars as pl

from jobs.core.choices import LabelledPixels
from jobs.core.naming import many
from jobs.ingest.label_import.exif_turns import orientation_of
from jobs.views.view import View
from schemas import FRAME_KEY
from transforms.formats.reviewing.known_frames import Known, extent_of, extent_of_object
from transforms.formats.reviewing.shapes import Returned, overlap
from transforms.formats.turned_labels import as_displayed, stored_size

_READERS = 8
_LEAST = 0.5
"""Overlap with the objects of a frame, summed over shapes, from which on a reading of a file is credible."""

_CLEARER = 2.0
"""How many times as much as by the other reading shapes must overlap."""


@dataclass
class Upright:
    """Frames with their shapes on the image as displayed, and notes on it; `problems` where nobody can know."""

    frames: list[Returned]
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def upright_frames(
    view: View, frames: Sequence[Returned], known: Sequence[Known], choice: LabelledPixels = "auto"
) -> Upright:
    """Return N reviewed frames, of which the tables know `known`, with shapes on the image as displayed.

    Frames are sent as they are displayed. A tool that ignores EXIF, and reads the image itself, gives width and height
    exchanged. Its shapes are then either of the stored pixels, or still where they were sent: that is right by which
    they overlap the objects of the frame. A frame without objects is as the others of the file are, or else as its size
    says. Where some shapes are of stored pixels, frames that EXIF turns without another size are compared as well.
    `choice` other than `auto` decides for all of them.
    """
    exchanged = [at for at, about in enumerate(known) if _is_exchanged(frames[at], about)]
    if not exchanged and choice != "stored":
        return Upright(list(frames))
    candidates = list(range(len(frames))) if choice == "stored" else exchanged
    orientations = _orientations(view, known, candidates)
    answers = _answers(frames, known, orientations, choice)
    if choice == "auto" and False in answers.values():
        rest = [at for at, frame in enumerate(frames) if at not in orientations and _says_nothing(frame, known[at])]
        more = _orientations(view, known, rest)
        answers |= _answers(frames, known, more, choice)
        orientations |= more
    return _turned(frames, known, orientations, answers)


def _is_exchanged(frame: Returned, about: Known) -> bool:
    return frame.size == (about.height, about.width) != (about.width, about.height)


def _says_nothing(frame: Returned, about: Known) -> bool:
    """Return whether the size of a frame is the same as displayed and as stored, for some of the ways to turn it."""
    return frame.size in {None, (about.width, about.height)}


def _orientations(view: View, known: Sequence[Known], which: Sequence[int]) -> dict[int, int]:
    """Return the orientation of those of the frames that EXIF turns, 2 to 8."""
    keys = {"stream_id": [known[at].stream_id for at in which], "frame_idx": [known[at].frame_idx for at in which]}
    wanted = pl.LazyFrame(keys, schema={"stream_id": pl.String, "frame_idx": pl.Int64})
    rows = view.lazy("frames").select(*FRAME_KEY, "content_hash", "uri", "format")
    found = rows.join(wanted, on=FRAME_KEY, how="semi").collect().to_dicts()
    by_key = {(row["stream_id"], row["frame_idx"]): row for row in found}
    files = [by_key[known[at].stream_id, known[at].frame_idx] for at in which]
    with ThreadPoolExecutor(_READERS) as readers:
        turns = list(readers.map(orientation_of, files))
    return {at: turn for at, turn in zip(which, turns, strict=True) if turn != 1}


def _answers(
    frames: Sequence[Returned], known: Sequence[Known], orientations: Mapping[int, int], choice: LabelledPixels
) -> dict[int, bool | None]:
    """Return for each frame that EXIF turns whether its shapes are of it as displayed; None where nothing says so."""
    if choice != "auto":
        return dict.fromkeys(orientations, choice == "displayed")
    return {at: _is_displayed(frames[at], known[at], turn) for at, turn in orientations.items()}


def _is_displayed(frame: Returned, about: Known, orientation: int) -> bool | None:
    size = (about.width, about.height)
    if stored_size(*size, orientation) != size and frame.size == size:
        return True
    displayed = _overlap(_as_sent(frame, about), about)
    stored = _overlap(_turned_back(frame, about, orientation), about)
    if max(displayed, stored) < _LEAST or max(displayed, stored) < _CLEARER * min(displayed, stored):
        return None
    return displayed > stored


def _overlap(frame: Returned, about: Known) -> float:
    """Return the sum over the shapes of a frame of the overlap with an object of their category."""
    there = [(each["category"], extent_of_object(each)) for each in about.standing.values()]
    total = 0.0
    for shape in frame.shapes:
        mine = extent_of(shape, about)
        total += max((overlap(mine, box) for category, box in there if category == shape.category), default=0.0)
    return total


def _as_sent(frame: Returned, about: Known) -> Returned:
    return replace(frame, size=(about.width, about.height) if frame.size else None)


def _turned_back(frame: Returned, about: Known, orientation: int) -> Returned:
    return as_displayed(frame, orientation, *stored_size(about.width, about.height, orientation))


def _turned(
    frames: Sequence[Returned],
    known: Sequence[Known],
    orientations: Mapping[int, int],
    answers: Mapping[int, bool | None],
) -> Upright:
    said = {answer for answer in answers.values() if answer is not None}
    found = Upright(list(frames))
    unsaid = [at for at, answer in answers.items() if answer is None]
    if len(said) > 1 and unsaid:
        found.problems = list(_contradictions(frames, unsaid))
        return found
    rest = next(iter(said)) if said else False
    n = {True: 0, False: 0}
    for at, orientation in orientations.items():
        answer = answers[at]
        is_displayed = rest if answer is None else answer
        if is_displayed and not _is_exchanged(frames[at], known[at]):
            continue
        n[is_displayed] += 1
        back = _as_sent(frames[at], known[at]) if is_displayed else _turned_back(frames[at], known[at], orientation)
        found.frames[at] = back
    if n[False]:
        found.notes.append(
            f"{many(n[False], 'image')} came back with objects on their pixels as stored, which are turned"
        )
    if n[True]:
        found.notes.append(
            f"{many(n[True], 'image')} came back with width and height exchanged, and with objects where they were sent"
        )
    return found


def _contradictions(frames: Sequence[Returned], unsaid: Sequence[int]) -> Iterator[str]:
    for at in unsaid:
        yield (
            f"{frames[at].place}: EXIF turns {frames[at].name}, and its objects do not say on which pixels they are, "
            "while those of other images are on both; say which with --exif displayed or --exif stored"
        )
