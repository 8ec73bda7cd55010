"""What the names in a folder say: which of their numbers vary, where times stand, and whether there are two streams.

The pattern that is found is what a person would read from the names. Where they can be read in several ways that give
other orders or other streams, `UnclearNamesError` has these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.frames import name_fields
from transforms.frames.name_fields import TIME, NamePart, codes_of
from transforms.frames.name_pattern import IMAGE_SUFFIX, LAST_NUMBER, Int64Array, NamePattern, numbers
from transforms.frames.name_times import TimeReading, find_times

_EXPORTED = r"(?s)^(?P<stem>.*?)(?P<end>[_-](?:jpg|jpeg|png|webp|bmp|tif|tiff))\.rf\.[0-9A-Za-z]+$"
_KNOWN = (
    # VisDrone: number of the sequence, of the frame in it, and of the target.
    ("^[0-9]{7}_[0-9]{5}_d_[0-9]{7}$", "{sequence:7}_{index:5}_d_{any}"),
    # Cityscapes: city, number of the sequence, of the frame in it, kind of image.
    (
        "^[a-z-]+_[0-9]{6}_[0-9]{6}_(?:leftImg8bit|rightImg8bit|disparity|gtFine_[a-zA-Z]+|gtCoarse_[a-zA-Z]+)$",
        "{any}_{sequence:6}_{index:6}_{any}",
    ),
)
"""Names of well-known data sets whose parts can have one value in a folder, and still have a meaning."""

_CAMERA_FILES = re.compile(r"(?:DSC|IMG|DJI|GOPR|PICT|CIMG|SAM|MVI|P|_MG|_DSC|DSCF|DSCN|R|L)_?$", re.IGNORECASE)
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MOST_PER_MOMENT = 60
_CLEARER = 20
_LEAST_LEFT_OUT = 0.1


class UnclearNamesError(ValueError):
    """Names can be read in several ways; `patterns` are these."""

    def __init__(self, patterns: Sequence[NamePattern]) -> None:
        super().__init__("; ".join(pattern.text for pattern in patterns))
        self.patterns = tuple(patterns)


def find_pattern(names: pa.Array) -> NamePattern | None:
    """Return the pattern of names of images, shape (N,); None if they hold no numbers that could order them.

    Where the last number in each name is the frame's, that is `LAST_NUMBER`. Raises
    `UnclearNamesError`.
    """
    stems = pc.replace_substring_regex(names, IMAGE_SUFFIX, "")
    stems = stems.filter(pc.match_substring_regex(stems, "[0-9]"))
    if not len(stems):
        return None
    exported = pc.extract_regex(stems, _EXPORTED)
    if exported.null_count == 0:
        # Roboflow: the name before the export, its extension, and a hash.
        ends = pc.unique(pc.struct_field(exported, "end"))
        inner = find_pattern(pc.binary_join_element_wise(pc.struct_field(exported, "stem"), ".jpg", ""))
        tail = f"{ends[0].as_py() if len(ends) == 1 else '_{any}'}.rf.{{any}}"
        return None if inner is None else NamePattern.parse(inner.text + tail)
    for regex, text in _KNOWN:
        if pc.all(pc.match_substring_regex(stems, regex)).as_py():
            return NamePattern.parse(text)
    found = [_with_time(reading) for reading in _clearest(find_times(stems))]
    if len(found) > 1:
        raise UnclearNamesError(found)
    pattern = found[0] if found else _with_numbers(stems)
    if pattern is not None and pattern != LAST_NUMBER and not _tells_apart(pattern, stems):
        # A few copies, such as image_3 (1).jpg, do not change how the others are read.
        ends = stems.filter(pc.match_substring_regex(stems, "[0-9]$"))
        if len(ends) >= (1 - _LEAST_LEFT_OUT) * len(stems) and _tells_apart(LAST_NUMBER, ends):
            return LAST_NUMBER
    return pattern


def _tells_apart(pattern: NamePattern, stems: pa.Array) -> bool:
    """Return whether no two frames of a stream have one number."""
    read = pattern.read(pc.binary_join_element_wise(stems, ".jpg", ""))
    return _are_unique([] if read.stream is None else [read.stream], read.frame_idx)


def _clearest(times: list[TimeReading]) -> list[TimeReading]:
    """Return the readings of times of which no other puts the frames much closer together."""
    units = [NamePattern.parse(f"{{time:{reading.format}}}").per_second for reading in times]
    spans = [int(np.ptp(reading.ticks)) // unit for reading, unit in zip(times, units, strict=True)]
    return [reading for reading, span in zip(times, spans, strict=True) if span <= _CLEARER * min(spans)]


def _with_time(reading: TimeReading) -> NamePattern:
    """Return the pattern of names that hold a time."""
    before, after = name_fields.split_names(reading.before), name_fields.split_names(reading.after)
    parts = [*before, NamePart("text", TIME), *after]
    roles = ["text" if part.n_distinct == 1 else "any" for part in parts]
    middle = len(before)
    ticks = reading.ticks
    direct = None
    if len(after) > 1 and after[0].text in {"-", "_", "."} and after[1].kind == "number":
        direct = middle + 2
        roles[direct] = "index"
        ticks = ticks * 10**9 + numbers(parts[direct].values, parts[direct].values)
    order = np.argsort(ticks, kind="stable")
    for at in range(len(parts)):
        if roles[at] == "any" and _divides(parts, at, at < middle, order, ticks):
            roles[at] = "stream"
    streams = [part.values for part, role in zip(parts, roles, strict=True) if role == "stream"]
    if direct is None and not _are_unique(streams, ticks):
        counters = [at for at, part in enumerate(parts) if part.kind == "number" and roles[at] == "any"]
        more = [at for at in reversed(counters) if _are_unique([*streams, parts[at].values], ticks)]
        if more:
            roles[more[0]] = "index"
    kind = "time"
    if "index" in roles and (direct is None or len(ticks) > _MOST_PER_MOMENT * len(np.unique(reading.ticks))):
        # Many frames of one time: it is that of the recording's start.
        kind = "sequence"
    return _pattern(parts, roles, f"{{{kind}:{reading.format}}}")


def _divides(parts: list[NamePart], at: int, is_before: bool, order: Int64Array, ticks: Int64Array) -> bool:
    """Return whether a part of names with times, in which they differ, names streams."""
    part = parts[at]
    if part.kind == "number":
        few = name_fields.can_be_streams(part.values)
        return few and is_before and name_fields.is_often_another(order, part.values)
    if is_before:
        # Names of cameras have no digits in the middle of letters, as hashes do.
        are_words = pc.all(pc.match_substring_regex(part.values, "^[^0-9]*[A-Za-z][^0-9]*[0-9]*$")).as_py()
        return bool(are_words) and (name_fields.can_be_streams(part.values) or 2 * part.n_distinct > len(ticks) < 8)
    if not name_fields.can_be_streams(part.values):
        return False
    return name_fields.name_sides(part.values) or (not _are_unique([], ticks) and _are_unique([part.values], ticks))


def _with_numbers(stems: pa.Array) -> NamePattern | None:
    """Return the pattern of names that hold numbers, and no times."""
    parts = name_fields.split_names(stems)
    at_end = parts[-1].kind == "number"
    found = [at for at, part in enumerate(parts) if part.kind == "number"]
    if not found:
        ends = pc.mean(pc.match_substring_regex(stems, "[0-9]$").cast(pa.float64())).as_py()
        return LAST_NUMBER if ends >= 1 - _LEAST_LEFT_OUT else None
    values = {at: numbers(parts[at].values, parts[at].values) for at in found}
    roles = ["text" if part.n_distinct == 1 else "any" for part in parts]
    moving = [at for at in found if roles[at] == "any"]
    for at in moving:
        if name_fields.counts_cameras(parts, at) and len(moving) > 1 and name_fields.can_be_streams(parts[at].values):
            roles[at] = "stream"
    days = [at for at in found[:-1] if name_fields.is_day(parts[at])]
    counted = sorted({at for at in moving if roles[at] == "any" and not _is_share(parts, at)} | set(days)) or found[-1:]
    labels = [at for at, part in enumerate(parts) if part.kind == "label" and roles[at] == "any"]
    for at in labels:
        if _label_divides(parts, roles, at, counted, values):
            roles[at] = "stream"
    streams = [part.values for part, role in zip(parts, roles, strict=True) if role == "stream"]
    index, sequences = _index(parts, roles, counted, days, values, streams)
    return _numbered(parts, roles, index, sequences, values[index], streams, at_end)


def _index(
    parts: list[NamePart],
    roles: list[str],
    counted: list[int],
    days: list[int],
    values: dict[int, Int64Array],
    streams: list[pa.Array],
) -> tuple[int, list[int]]:
    """Return the place of the frame's number, and those of the numbers of sequences before it."""
    last = counted[-1]
    if len(counted) == 1:
        return last, []
    by_all = np.lexsort([values[at] for at in reversed(counted)])
    if not days and _are_unique(streams, values[last]):
        agree = bool((np.diff(values[last][by_all]) > 0).all())
        if agree or streams:
            return last, []
        both = [_numbered(parts, roles, last, [], values[last], streams, False)]
        both.append(_numbered(parts, roles, last, counted[:-1], values[last], streams, False))
        raise UnclearNamesError(both)
    for n in range(len(days) + 1, len(counted) + 1):
        if _are_unique([*streams, *(parts[at].values for at in counted[: n - 1])], values[counted[n - 1]]):
            if n == 1:
                both = [_numbered(parts, roles, counted[0], [], values[counted[0]], streams, False)]
                both.append(_numbered(parts, roles, counted[1], counted[:1], values[counted[1]], streams, False))
                raise UnclearNamesError(both)
            return counted[n - 1], counted[: n - 1]
    return (last, counted[:-1]) if days else (last, [])


def _numbered(
    parts: list[NamePart],
    roles: list[str],
    index: int,
    sequences: list[int],
    values: Int64Array,
    streams: list[pa.Array],
    at_end: bool,
) -> NamePattern:
    roles = list(roles)
    roles[index] = "index"
    for at in sequences:
        roles[at] = "sequence"
    if not sequences and (low := _rolls_over(parts, index, values, streams)):
        width = parts[index].width
        return _pattern(parts, roles, "", f"{{index:{low:0{width}d}..{'9' * width}}}")
    if at_end and not sequences and not streams and index == len(parts) - 1:
        return LAST_NUMBER
    return _pattern(parts, roles, "")


def _rolls_over(parts: list[NamePart], index: int, values: Int64Array, streams: list[pa.Array]) -> int | None:
    """Return the first number of a camera's files that continue from 9999 with 0 or 1; None if they do not.

    Raises `UnclearNamesError` where nothing but the numbers says so.
    """
    width = parts[index].width
    if streams or not 3 <= width <= 6 or len(values) < 2:
        return None
    known = np.unique(values)
    if known[-1] != 10**width - 1 or known[0] > 1:
        return None
    widest = int(np.argmax(np.diff(known)))
    low = int(known[widest + 1])
    if low - known[widest] < 10**width // 10:
        return None
    before = parts[index - 1].text if index else ""
    if index and parts[index - 1].kind == "text" and _CAMERA_FILES.search(before):
        return low
    roles = ["text" if part.n_distinct == 1 else "any" for part in parts]
    roles[index] = "index"
    rolled = f"{{index:{low:0{width}d}..{'9' * width}}}"
    raise UnclearNamesError([_pattern(parts, roles, ""), _pattern(parts, roles, "", rolled)])


def _label_divides(
    parts: list[NamePart], roles: list[str], at: int, counted: list[int], values: dict[int, Int64Array]
) -> bool:
    """Return whether the text in which names differ names streams. Raises `UnclearNamesError` if it may or may not."""
    labels = parts[at].values
    if not name_fields.can_be_streams(labels) or pc.any(pc.equal(labels, "")).as_py():
        return False
    others = [part.values for part, role in zip(parts, roles, strict=True) if role == "stream"]
    key = codes_of([parts[n].values for n in counted])
    if not _are_unique(others, key):
        return _are_unique([*others, labels], key)
    if not name_fields.is_often_another(np.lexsort([values[n] for n in reversed(counted)]), labels):
        return False
    if name_fields.name_sides(labels):
        return True
    apart = [*roles]
    apart[at] = "stream"
    index = counted[-1]
    both = [
        LAST_NUMBER if index == len(parts) - 1 else _numbered(parts, roles, index, [], values[index], others, False)
    ]
    raise UnclearNamesError([*both, _numbered(parts, apart, index, [], values[index], [labels], False)])


def _is_share(parts: list[NamePart], at: int) -> bool:
    """Return whether a number is half of a score between 0 and 1, such as 0.87."""
    for point in (at - 1, at + 1):
        if not 0 < point < len(parts) - 1 or parts[point].text != "." or parts[point - 1].kind != "number":
            continue
        if parts[point + 1].kind == "number":
            return bool(pc.all(pc.match_substring_regex(parts[point - 1].values, "^[01]$")).as_py())
    return False


def _are_unique(streams: list[pa.Array], values: Int64Array) -> bool:
    """Return whether no two names have the same number and the same texts."""
    if not streams:
        return len(np.unique(values)) == len(values)
    return len(np.unique(np.stack([codes_of(streams), values]), axis=1).T) == len(values)


def _pattern(parts: list[NamePart], roles: list[str], time: str, index: str = "") -> NamePattern:
    """Return the pattern of parts, given what each of them is."""
    text = ""
    has_more = bool(time) or "sequence" in roles
    for at, (part, role) in enumerate(zip(parts, roles, strict=True)):
        constant = part.text if part.kind == "text" else (part.values[0].as_py() if part.n_distinct == 1 else "")
        if role == "text" and part.kind == "text" and roles[at + 1 : at + 2] == ["stream"]:
            # The letters before a number are part of a camera's name.
            constant = constant.rstrip(_LETTERS)
        if role == "text":
            text += constant.replace("{", "{{").replace("}", "}}").replace(TIME, time)
        elif role in {"index", "sequence"}:
            width = f":{part.width}" if part.width and has_more else ""
            text += index if role == "index" and index else f"{{{role}{width}}}"
        else:
            text += f"{{{role}}}"
    text = re.sub(r"\{any\}(?:[^{}a-zA-Z]*\{any\})+", "{any}", text)
    return NamePattern.parse(re.sub(r"(?:\{any\})?\{stream\}(?:\{any\})?", "{stream}", text))
