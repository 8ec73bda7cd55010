"""Patterns of file names, such as `{stream}_{time:%Y-%m-%d_%H-%M-%S}`: what numbers, times and streams names hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.frames.time_format import TimeFormat, TimeFormatError

Int64Array = npt.NDArray[np.int64]

EXTENSIONS = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
IMAGE_SUFFIX = rf"\.(?i:{'|'.join(EXTENSIONS)})$"
_FIELD = re.compile(r"\{\{|\}\}|\{(?P<kind>[^{}:]*)(?::(?P<spec>[^{}]*))?\}|[{}]")
_ROLL = re.compile(r"([0-9]+)\.\.([0-9]+)")
_MOST_DIGITS = 19
_LARGEST = 2**63 - 1
_ROOM = 9
"""Decimal places that a number of no fixed width has in a composed frame number."""

Kind = Literal["any", "stream", "sequence", "time", "index"]


class FrameNameError(ValueError):
    """A pattern of names is wrong, or a name holds a number or a time that there cannot be."""


class _Field(NamedTuple):
    """A field of a pattern: its kind, how many digits it has (0: any number), and its format if it is a time.

    `roll` are the lowest number of a sequence that rolls over, and the highest that a name can hold.
    """

    kind: Kind
    width: int = 0
    time: TimeFormat | None = None
    roll: tuple[int, int] | None = None


@dataclass(frozen=True)
class NamedFrames:
    """What the names say that a pattern fits; all of shape (N,), in the order of the names.

    `at` are the positions of these names. `frame_idx` is int64. `t_ns` is the time in ns since 1970, or None if the
    names hold no date. `stream` is the text of the `{stream}` fields, joined by `_`, or None without such fields.
    """

    at: Int64Array
    frame_idx: Int64Array
    t_ns: Int64Array | None
    stream: pa.Array | None


@dataclass(frozen=True)
class NamePattern:
    """A pattern of the names of frames.

    A pattern is text with fields in braces, and describes a whole name without its extension (with it, if it ends in
    one). `{index}` is the frame's number in decimal digits, `{index:6}` with exactly six of them, `{index:9990..9999}`
    one that begins at 9990 and continues with 0 after 9999. `{time:FORMAT}` is a time, as `TimeFormat` reads it.
    `{sequence}` is a number that comes before the others, as that of a take or a scene; `{sequence:FORMAT}` is the time
    at which one began. `{stream}` is a text that divides a folder into streams, `{any}` any text, or none. `{{` and
    `}}` are braces.

    The number of a frame, `frame_idx`, is a function of its name alone: a time counts in the finest unit of its format
    since 1970 (seconds, milliseconds, microseconds, nanoseconds), and sequences, time and index, if there are several,
    are written one after the other in decimal places: as many as the field's width, or nine. Files that arrive later
    therefore never change the numbers of others.
    """

    text: str
    fields: tuple[_Field, ...]
    regex: str

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """Return the pattern that a text describes. Raises `FrameNameError` with what is wrong."""
        fields: list[_Field] = []
        regex, at = "(?s)^", 0
        for found in _FIELD.finditer(text):
            regex += re.escape(text[at : found.start()])
            at = found.end()
            if found["kind"] is None:
                if found[0] in "{}":
                    raise FrameNameError(f"{text!r}: a single {found[0]}; expected a field such as {{index}}, or {{{{")
                regex += re.escape(found[0][0])
                continue
            field = _field(text, found["kind"], found["spec"])
            regex += _group(field, len(fields))
            fields.append(field)
        literal = text[at:]
        has_suffix = re.search(IMAGE_SUFFIX.replace("?i:", "?:"), literal, re.IGNORECASE)
        regex += re.escape(literal) + ("$" if has_suffix else IMAGE_SUFFIX)
        _check(text, fields)
        return cls(text, tuple(fields), regex)

    def read(self, names: pa.Array) -> NamedFrames:
        """Return what names of shape (N,) say. Raises `FrameNameError` for a number or time that there cannot be."""
        groups = pc.extract_regex(names, self.regex)
        at = np.flatnonzero(pc.is_valid(groups).to_numpy(zero_copy_only=False))
        chosen = names.take(pa.array(at))
        groups = groups.drop_null()
        number: Int64Array | None = None
        t_ns: Int64Array | None = None
        parts: list[pa.Array] = []
        for place in self._places():
            field, group = self.fields[place], f"f{place}"
            if field.kind == "stream":
                parts.append(pc.struct_field(groups, group))
            elif field.kind != "any":
                value = self._value(field, group, groups, chosen)
                number = value if number is None else _composed(number, value, field.width or _ROOM, chosen)
                if field.kind == "time" and field.time is not None:
                    t_ns = field.time.t_ns(groups, group)
        assert number is not None
        stream = pc.binary_join_element_wise(*parts, "_") if parts else None
        return NamedFrames(at, number, t_ns, stream)

    @property
    def per_second(self) -> int:
        """Return the units per second of the times in the names; 1 without times."""
        return next((field.time.per_second for field in self.fields if field.time is not None), 1)

    @property
    def room(self) -> int:
        """Return by how much the numbers of two sequences, or of two times, differ at least; 1 without an index."""
        index = [field for field in self.fields if field.kind == "index"]
        has_more = any(field.kind in {"sequence", "time"} for field in self.fields)
        return 10 ** (index[0].width or _ROOM) if index and has_more else 1

    @property
    def counts_within_time(self) -> bool:
        """Return whether the index counts the frames of one moment of the time."""
        kinds = {field.kind for field in self.fields}
        return {"time", "index"} <= kinds

    @property
    def has_sequences(self) -> bool:
        """Return whether frames belong to sequences, between which nothing follows."""
        return any(field.kind == "sequence" for field in self.fields)

    @property
    def has_streams(self) -> bool:
        """Return whether the pattern divides a folder into streams."""
        return any(field.kind == "stream" for field in self.fields)

    @property
    def has_times(self) -> bool:
        """Return whether names say the time of a frame, and not only that of a day."""
        return any(field.kind == "time" and field.time is not None and field.time.has_date for field in self.fields)

    @property
    def has_local_times(self) -> bool:
        """Return whether the times in names are what a clock showed somewhere, without an offset from UTC."""
        times = [self.fields[place].time for place in self._places() if self.fields[place].kind == "time"]
        return bool(times) and times[-1] is not None and times[-1].is_local

    def _places(self) -> list[int]:
        """Return the places of the fields in the order in which a number is composed."""
        order: dict[str, int] = {"sequence": 0, "time": 1, "index": 2, "stream": 3, "any": 4}
        return sorted(range(len(self.fields)), key=lambda place: (order[self.fields[place].kind], place))

    def _value(self, field: _Field, group: str, groups: pa.Array, names: pa.Array) -> Int64Array:
        if field.time is not None:
            try:
                return field.time.ticks(groups, group)
            except TimeFormatError as error:
                at, what = error.args
                raise FrameNameError(f"{names[at].as_py()!r}: {what}") from error
        value = numbers(pc.struct_field(groups, group), names)
        if field.roll is not None:
            low, high = field.roll
            return np.where(value < low, value + high + 1, value)
        return value


def numbers(digits: pa.Array, names: pa.Array) -> Int64Array:
    """Return texts of decimal digits as int64. Raises `FrameNameError` with the name whose number does not fit."""
    digits = pc.utf8_ltrim(digits, "0")
    lengths = pc.utf8_length(digits)
    largest = str(_LARGEST)
    too_large = pc.or_(
        pc.greater(lengths, _MOST_DIGITS), pc.and_(pc.equal(lengths, _MOST_DIGITS), pc.greater(digits, largest))
    )
    if pc.any(too_large).as_py():
        name = names[pc.index(too_large, True).as_py()].as_py()
        raise FrameNameError(f"the number in {name!r} is above {largest}")
    found: Int64Array = pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64()).to_numpy()
    return found


def _composed(above: Int64Array, value: Int64Array, width: int, names: pa.Array) -> Int64Array:
    """Return `above`, followed by a value in `width` decimal places."""
    wrong = np.flatnonzero(value >= 10**width)
    if len(wrong):
        raise FrameNameError(f"{names[int(wrong[0])].as_py()!r}: {value[wrong[0]]} has more than {width} digits")
    too_large = np.flatnonzero(above > (_LARGEST - value) // 10**width)
    if len(too_large):
        name = names[int(too_large[0])].as_py()
        raise FrameNameError(f"the numbers in {name!r} make one above {_LARGEST}; give their widths, as in {{index:4}}")
    return above * 10**width + value


def _field(text: str, kind: str, spec: str | None) -> _Field:
    if kind not in {"any", "stream", "sequence", "time", "index"}:
        expected = "{index}, {time:FORMAT}, {sequence}, {stream} or {any}"
        raise FrameNameError(f"{text!r}: there is no field {{{kind}}}; expected {expected}")
    if kind in {"any", "stream"} and spec is not None:
        raise FrameNameError(f"{text!r}: {{{kind}:{spec}}}; expected {{{kind}}}, which takes no format")
    if kind == "time" and not spec:
        raise FrameNameError(f"{text!r}: {{time}} needs a format, such as {{time:%Y-%m-%d_%H-%M-%S}} or {{time:ms}}")
    if spec is None or kind in {"any", "stream"}:
        return _Field(kind)  # type: ignore[arg-type]
    if kind == "time" or (kind == "sequence" and not spec.isdecimal()):
        try:
            return _Field(kind, 0, TimeFormat.parse(spec))  # type: ignore[arg-type]
        except TimeFormatError as error:
            raise FrameNameError(f"{text!r}: {error}") from error
    if kind == "index" and (roll := _ROLL.fullmatch(spec)):
        low, high = int(roll[1]), int(roll[2])
        if low > high or str(high).strip("9") or len(roll[1]) > len(roll[2]):
            raise FrameNameError(
                f"{text!r}: {{index:{spec}}}; expected the first number and the last, as in 9990..9999"
            )
        return _Field("index", len(roll[2]), roll=(low, high))
    if not spec.isdecimal() or not 1 <= int(spec) <= _MOST_DIGITS:
        raise FrameNameError(f"{text!r}: {{{kind}:{spec}}}; expected the number of digits, as in {{{kind}:6}}")
    return _Field(kind, int(spec))  # type: ignore[arg-type]


def _group(field: _Field, place: int) -> str:
    """Return the field as a regular expression, with one group or, for a time, one for each of its parts."""
    if field.kind in {"any", "stream"}:
        return f"(?P<f{place}>{'.*?' if field.kind == 'any' else '.+?'})"
    if field.time is not None:
        return field.time.regex(f"f{place}")
    return f"(?P<f{place}>[0-9]{f'{{{field.width}}}' if field.width else '+'})"


def _check(text: str, fields: list[_Field]) -> None:
    kinds = [field.kind for field in fields]
    if "/" in text:
        raise FrameNameError(f"{text!r} holds a /; expected a pattern of file names")
    if not {"index", "time"} & set(kinds):
        raise FrameNameError(f"{text!r} has no number; expected a field {{index}} or {{time:FORMAT}}")
    for kind in ("index", "time"):
        if kinds.count(kind) > 1:
            raise FrameNameError(f"{text!r} has {{{kind}}} {kinds.count(kind)} times; expected one, {{any}} for others")
    if "time" in kinds and "sequence" in kinds:
        raise FrameNameError(f"{text!r} has a time and a sequence; time alone orders frames: {{any}} for the sequence")


LAST_NUMBER = NamePattern.parse("{any}{index}")
"""The last thing in a name is the frame's number, and anything may come before it."""
