"""Whether labels of images that EXIF turns are of these as displayed, or of their pixels as stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from jobs.core.choices import LabelledPixels
from jobs.core.naming import many
from jobs.ingest.label_import.frame_matching import Matched, Row, file_of
from transforms.formats.reviewing.shapes import Returned
from transforms.formats.turned_labels import stored_size
from transforms.frames.clip import FrameName
from transforms.frames.image import CorruptImageError, read_header

_READERS = 8
_FORMATS = frozenset({"jpeg", "png", "webp"})


@dataclass(frozen=True)
class Labelled:
    """An image of a dataset, and one frame that it is.

    `orientation`: by which the labels are to be turned, 1 to 8 of EXIF; 1 where they are of the image as displayed.
    """

    returned: Returned
    row: Row
    match: Matched
    orientation: int = 1


@dataclass(frozen=True)
class ExifTurns:
    """The labelled images, with what is to be turned, and how many of those that EXIF turns are labelled how.

    `unsaid`: those of which neither sizes nor pixels say; they are counted in one of the others, too.
    """

    labelled: list[Labelled]
    displayed: int
    stored: int
    unsaid: int

    def notes(self, choice: LabelledPixels) -> Iterator[str]:
        """Yield what to say of it."""
        if self.stored:
            yield (
                f"{many(self.stored, 'image', 'have')} labels on their pixels as stored, which are turned as EXIF "
                "turns these"
            )
        if self.unsaid and choice == "auto":
            taken, other = ("stored", "displayed") if self.stored else ("displayed", "stored")
            yield (
                f"{many(self.unsaid, 'image', 'are')} turned by EXIF, and no size says whether their labels are of "
                f"them as displayed or as stored: taken as {taken}; --exif {other} takes them the other way"
            )


def turned_by_exif(matched: Sequence[Labelled], choice: LabelledPixels, problems: list[str]) -> ExifTurns:
    """Return the images with how their labels are to be turned; add a line to `problems` where the sizes contradict.

    Labels of an image that has the pixels of the frame without its EXIF are of these. Otherwise the size in the file
    decides, where width and height are exchanged; others are as all of these are, or as displayed. `choice` other than
    `auto` decides for all that have the EXIF.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        orientations = list(readers.map(lambda one: _orientation(one, choice), matched))
    turned = [(one, found) for one, found in zip(matched, orientations, strict=True) if found != 1]
    said = {id(one): _is_displayed(one, found) for one, found in turned}
    by_size = {said[id(one)] for one, _ in turned if one.match.is_displayed is None} - {None}
    unsaid = [one for one, _ in turned if said[id(one)] is None]
    if choice == "auto" and len(by_size) > 1 and unsaid:
        problems.append(
            f"{many(len(unsaid), 'image', 'are')} turned by EXIF, such as {unsaid[0].returned.name}, and labels of "
            "others are of images as displayed and as stored both; say which with --exif displayed or --exif stored"
        )
    rest = by_size != {False}
    counts = {True: 0, False: 0}
    found = []
    for one, orientation in zip(matched, orientations, strict=True):
        if orientation == 1:
            found.append(one)
            continue
        answer = said[id(one)]
        if choice != "auto" and one.match.is_displayed is None:
            answer = choice == "displayed"
        is_displayed = rest if answer is None else answer
        counts[is_displayed] += 1
        found.append(_as(one, is_displayed, orientation))
    return ExifTurns(found, counts[True], counts[False], len(unsaid))


def _orientation(one: Labelled, choice: LabelledPixels) -> int:
    """Return the orientation of a frame's file; 1 where there is none, and where nothing depends on it."""
    header = one.match.header
    if one.match.by == "content":
        return header.orientation if header else 1
    size = one.returned.size
    is_settled = choice == "displayed" and size in {None, _size(one.row)} and one.match.is_displayed is None
    return 1 if is_settled else orientation_of(one.row)


def orientation_of(row: Row) -> int:
    """Return the orientation in the EXIF of a frame's file, 1 to 8, from `uri`, `format` and `content_hash`.

    It is 1 for frames of clips, and for files that are missing or have changed.
    """
    if FrameName.parse(row["uri"]) or row["format"] not in _FORMATS:
        return 1
    data = file_of(row)
    try:
        return read_header(data).orientation if data else 1
    except CorruptImageError:
        return 1


def _is_displayed(one: Labelled, orientation: int) -> bool | None:
    """Return whether labels are of an image as displayed; None where nothing says so."""
    if one.match.is_displayed is not None:
        return one.match.is_displayed
    displayed = _size(one.row)
    stored = stored_size(*displayed, orientation)
    if displayed == stored or one.returned.size not in {displayed, stored}:
        return None
    return one.returned.size == displayed


def _as(one: Labelled, is_displayed: bool, orientation: int) -> Labelled:
    displayed = _size(one.row)
    sizes = {None, displayed, stored_size(*displayed, orientation)}
    if one.returned.size not in sizes:
        # Of another size altogether, which is a problem of its own.
        return one
    size = (displayed if is_displayed else stored_size(*displayed, orientation)) if one.returned.size else None
    return replace(one, returned=replace(one.returned, size=size), orientation=1 if is_displayed else orientation)


def _size(row: Row) -> tuple[int, int]:
    return row["width"], row["height"]
