"""The parts of the names in a folder: text that all share, numbers, and one text that differs."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.frames.name_pattern import Int64Array

TIME = "\x01"
"""Text that replaces the time in a name."""

_SIDES = frozenset(
    [
        "left",
        "right",
        "l",
        "r",
        "front",
        "rear",
        "back",
        "top",
        "bottom",
        "up",
        "down",
        "center",
        "centre",
        "middle",
        "north",
        "south",
        "east",
        "west",
        "in",
        "out",
        "inner",
        "outer",
        "rgb",
        "color",
        "colour",
        "depth",
        "ir",
        "thermal",
        "nir",
        "swir",
        "lwir",
        "gray",
        "grey",
        "visible",
        "vis",
        "v",
        "t",
        "w",
        "z",
        "fisheye",
        "wide",
        "tele",
        "zoom",
    ]
)
_CAMERA = re.compile(r"(?:^|[^a-z])(?:cam|camera|ch|channel|view|sensor|device|dev|kamera)[-_ .]?$", re.IGNORECASE)
_MOST_STREAMS = 64
_OFTEN = 0.2
_BORDER = re.compile(r"(?<=[-_. @()\[\],+~])|(?<=0)|(?=0)")


Kind = Literal["text", "number", "label"]


class NamePart(NamedTuple):
    """One part of all names: `text` that is the same in all, or the column of N texts that stand there.

    `number` parts are decimal digits, and the `label` is the text that differs.
    """

    kind: Kind
    text: str = ""
    column: pa.Array | None = None

    @property
    def values(self) -> pa.Array:
        """Return the texts that stand there, shape (N,)."""
        assert self.column is not None
        return self.column

    @property
    def n_distinct(self) -> int:
        """Return how many different texts stand there."""
        return 1 if self.column is None else int(pc.count_distinct(self.column).as_py())

    @property
    def width(self) -> int:
        """Return the number of digits, if all numbers have as many; 0 otherwise."""
        found = pc.min_max(pc.utf8_length(self.values)).as_py()
        return int(found["max"]) if found["min"] == found["max"] else 0


def split_names(stems: pa.Array) -> list[NamePart]:
    """Return the parts of names, shape (N,), without extensions."""
    templates = [t.as_py() for t in pc.unique(pc.replace_substring_regex(stems, "[0-9]+", "0"))]
    if len(templates) == 1:
        return _parts(stems, templates[0], None)
    begin = _common(templates)
    end = _common([template[::-1] for template in templates])[::-1]
    shortest = min(map(len, templates))
    if len(begin) + len(end) > shortest:
        end = _cut_start(end[len(begin) + len(end) - shortest :])
    return _parts(stems, begin, end)


def is_often_another(order: Int64Array, labels: pa.Array) -> bool:
    """Return whether labels alternate when the frames are put in this order."""
    codes = labels.dictionary_encode().indices.to_numpy()[order]
    return len(codes) > 1 and float((codes[1:] != codes[:-1]).mean()) > _OFTEN


def name_sides(labels: pa.Array) -> bool:
    """Return whether labels are words for cameras that record side by side, such as left and right."""
    return all(label.lower() in _SIDES or _CAMERA.search(label.rstrip("0123456789")) for label in _distinct(labels))


def can_be_streams(labels: pa.Array) -> bool:
    """Return whether labels are few, and each has several files."""
    counts = pc.value_counts(labels).field("counts").to_numpy()
    return 1 < len(counts) <= _MOST_STREAMS and (bool(counts.min() > 1) or name_sides(labels))


def counts_cameras(parts: list[NamePart], at: int) -> bool:
    """Return whether the number at this place is that of a camera, by the word in front of it."""
    return at > 0 and parts[at - 1].kind == "text" and bool(_CAMERA.search(parts[at - 1].text))


def is_day(part: NamePart) -> bool:
    """Return whether all numbers are days, such as 20240115."""
    shape = "^(?:19[7-9][0-9]|20[0-9]{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])$"
    return part.kind == "number" and bool(pc.all(pc.match_substring_regex(part.values, shape)).as_py())


def codes_of(columns: list[pa.Array]) -> Int64Array:
    """Return one integer per name that is the same for names with the same texts in all columns."""
    joined = pc.binary_join_element_wise(*columns, "\x00") if len(columns) > 1 else columns[0]
    return joined.dictionary_encode().indices.to_numpy().astype(np.int64)


def _parts(stems: pa.Array, begin: str, end: str | None) -> list[NamePart]:
    pieces = _pieces(begin)
    if end is not None:
        pieces += [("label", ""), *_pieces(end)]
    forms = {"number": "[0-9]+", "label": ".*?"}
    regex = "(?s)^"
    for at, (kind, text) in enumerate(pieces):
        regex += re.escape(text) if kind == "text" else f"(?P<g{at}>{forms[kind]})"
    regex += "$"
    found = pc.extract_regex(stems, regex) if any(kind != "text" for kind, _ in pieces) else None
    return [
        NamePart(kind, text, None if kind == "text" or found is None else pc.struct_field(found, f"g{at}"))
        for at, (kind, text) in enumerate(pieces)
    ]


def _pieces(template: str) -> list[tuple[Kind, str]]:
    return [("number" if text == "0" else "text", text) for text in re.findall("0|[^0]+", template)]


def _common(templates: list[str]) -> str:
    """Return the longest common beginning that ends with a sign between words, or between text and number."""
    # The first and the last in order have no longer beginning in common than all.
    first, last = min(templates), max(templates)
    begin = first[: next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
    if begin in templates:
        return begin
    borders = [found.start() for found in _BORDER.finditer(begin)]
    return begin[: max(borders, default=0)]


def _cut_start(end: str) -> str:
    """Return an ending without the word that it begins in the middle of."""
    borders = [found.start() for found in _BORDER.finditer(end)]
    return end[min(borders, default=len(end)) :]


def _distinct(labels: pa.Array) -> list[str]:
    return [label.as_py() for label in pc.unique(labels)]
