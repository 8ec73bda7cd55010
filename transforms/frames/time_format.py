"""Times in file names: formats like those of `strftime`, read in arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Int64Array = npt.NDArray[np.int64]

_NS = 1_000_000_000
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": _NS}
"""Formats that are a number of units since 1970, and these units per second."""

_PARTS = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "0[1-9]|1[0-2]",
    "d": "0[1-9]|[12][0-9]|3[01]",
    "j": "[0-3][0-9]{2}",
    "H": "[01][0-9]|2[0-3]",
    "I": "0[1-9]|1[0-2]",
    "M": "[0-5][0-9]",
    "S": "[0-5][0-9]|60",
    "p": "(?i:am|pm)",
    "b": f"(?i:{'|'.join(_MONTHS)})",
    "f": "[0-9]{1,6}",
    "s": "[0-9]{1,11}",
    "z": "Z|[+-][0-9]{2}:?[0-9]{2}",
}
_DIRECTIVE = re.compile(r"%(?P<width>[1-9])?(?P<part>.)?")


class TimeFormatError(ValueError):
    """A format is wrong, or (position, reason) of a time that does not exist."""


@dataclass(frozen=True)
class TimeFormat:
    """A format of times in names.

    `s`, `ms`, `us` and `ns` are whole seconds, milliseconds, microseconds and nanoseconds since 1970. Anything else is
    text with the directives of C's `strftime`: `%Y` `%y` `%m` `%d` `%j` `%b` `%H` `%I` `%p` `%M` `%S` `%z`, and `%s`,
    seconds since 1970; `%f` is a fraction of a second of one to six digits, as Python reads it (`.5` is half a second),
    `%3f` one of exactly three. Times without an offset (`%z`) are taken as they stand, as if they were UTC.
    """

    text: str
    parts: tuple[str, ...]
    digits: int
    template: str

    @classmethod
    def parse(cls, text: str) -> TimeFormat:
        """Return the format that a text describes. Raises `TimeFormatError`."""
        if text in _EPOCHS:
            return cls(text, (text,), 0, "")
        parts: list[str] = []
        digits, template, at = 0, "", 0
        for found in _DIRECTIVE.finditer(text):
            template += re.escape(text[at : found.start()])
            at = found.end()
            part = found["part"]
            if part == "%":
                template += "%"
                continue
            if part not in _PARTS or (found["width"] and part != "f"):
                known = " ".join(f"%{name}" for name in _PARTS)
                raise TimeFormatError(f"{found[0]} is not known; expected {known}, %3f, or one of {', '.join(_EPOCHS)}")
            if part in parts:
                raise TimeFormatError(f"%{part} is there twice")
            parts.append(part)
            if part == "f":
                digits = int(found["width"] or 6)
            pattern = f"[0-9]{{{found['width']}}}" if found["width"] else _PARTS[part]
            template += f"(?P<PREFIX_{part}>{pattern})"
        template += re.escape(text[at:])
        _check(text, parts)
        return cls(text, tuple(parts), digits, template)

    def regex(self, prefix: str) -> str:
        """Return a regular expression with a group `PREFIX_part` for each part."""
        if self.text in _EPOCHS:
            return f"(?P<{prefix}_{self.text}>[0-9]{{1,19}})"
        return self.template.replace("PREFIX", prefix)

    @property
    def has_date(self) -> bool:
        """Return whether the format says the day, and not only the time of a day."""
        return self.text in _EPOCHS or bool({"s", "Y", "y"} & set(self.parts))

    @property
    def is_local(self) -> bool:
        """Return whether a time is what a clock showed somewhere: a date without an offset from UTC."""
        return self.has_date and self.text not in _EPOCHS and not {"s", "z"} & set(self.parts)

    @property
    def per_second(self) -> int:
        """Return the units in a second in which times are counted: 1, 10**3, 10**6 or 10**9."""
        if self.text in _EPOCHS:
            return _EPOCHS[self.text]
        return int(10 ** (-(-self.digits // 3) * 3))

    def ticks(self, groups: pa.Array, prefix: str) -> Int64Array:
        """Return times in units since 1970, int64, given the groups of `regex`.

        Raises `TimeFormatError` with position and reason for a time that does not exist, or before 1970.
        """
        if self.text in _EPOCHS:
            found: Int64Array = _integers(groups, f"{prefix}_{self.text}")
            return found
        seconds, fraction = self._seconds(groups, prefix)
        return seconds * self.per_second + fraction // (_NS // self.per_second)

    def t_ns(self, groups: pa.Array, prefix: str) -> Int64Array | None:
        """Return times in ns since 1970, int64; None for times of a day. Raises `TimeFormatError` as `ticks` does."""
        if not self.has_date:
            return None
        if self.text in _EPOCHS:
            return _integers(groups, f"{prefix}_{self.text}") * (_NS // self.per_second)
        seconds, fraction = self._seconds(groups, prefix)
        return seconds * _NS + fraction

    def _seconds(self, groups: pa.Array, prefix: str) -> tuple[Int64Array, Int64Array]:
        """Return whole seconds since 1970, and the fraction in ns."""

        def part(name: str, absent: int = 0) -> Any:
            if name not in self.parts:
                return np.full(len(groups), absent, np.int64)
            return _integers(groups, f"{prefix}_{name}")

        fraction = np.zeros(len(groups), np.int64)
        if "f" in self.parts:
            digits = pc.utf8_rpad(pc.struct_field(groups, f"{prefix}_f"), 9, "0")
            fraction = digits.cast(pa.int64()).to_numpy()
        if "s" in self.parts:
            return part("s"), fraction
        hours = part("H")
        if "I" in self.parts:
            hours = part("I") % 12
            if "p" in self.parts:
                is_late = pc.equal(pc.utf8_lower(pc.struct_field(groups, f"{prefix}_p")), "pm")
                hours = hours + 12 * is_late.to_numpy(zero_copy_only=False)
        seconds = self._days(groups, prefix, part) * 86_400 + hours * 3_600 + part("M") * 60 + part("S")
        if "z" in self.parts:
            seconds = seconds - _offsets(pc.struct_field(groups, f"{prefix}_z"))
        early = np.flatnonzero(seconds < 0)
        if len(early):
            raise TimeFormatError(int(early[0]), "its time is before 1970")
        return seconds, fraction

    def _days(self, groups: pa.Array, prefix: str, part: Any) -> Int64Array:
        if not self.has_date:
            return np.zeros(len(groups), np.int64)
        # POSIX: two digits from 69 on are of the last century.
        short = part("y")
        years = part("Y") if "Y" in self.parts else short + np.where(short < 69, 2000, 1900)
        months = part("m", 1)
        if "b" in self.parts:
            texts = pc.utf8_lower(pc.struct_field(groups, f"{prefix}_b"))
            months = pc.index_in(texts, pa.array(_MONTHS)).to_numpy().astype(np.int64) + 1
        first = ((years - 1970) * 12 + months - 1).astype("datetime64[M]")
        days = first.astype("datetime64[D]") + (part("d", 1) - 1) + (part("j", 1) - 1)
        is_wrong = days.astype("datetime64[Y]") != first.astype("datetime64[Y]")
        if "j" not in self.parts:
            is_wrong |= days.astype("datetime64[M]") != first
        wrong = np.flatnonzero(is_wrong)
        if len(wrong):
            raise TimeFormatError(int(wrong[0]), "its date does not exist")
        found: Int64Array = days.astype(np.int64)
        return found


def _integers(groups: pa.Array, name: str) -> Int64Array:
    texts = pc.struct_field(groups, name)
    too_large = pc.and_(pc.equal(pc.utf8_length(texts), 19), pc.greater(texts, str(2**63 - 1)))
    if pc.any(too_large).as_py():
        raise TimeFormatError(pc.index(too_large, True).as_py(), f"its number is above {2**63 - 1}")
    found: Int64Array = texts.cast(pa.int64()).to_numpy()
    return found


def _offsets(texts: pa.Array) -> Int64Array:
    """Return offsets such as +0800, -03:30 or Z in seconds."""
    plain = pc.replace_substring(pc.if_else(pc.equal(texts, "Z"), "+0000", texts), ":", "")
    sign = np.where(pc.starts_with(plain, "-").to_numpy(zero_copy_only=False), -1, 1)
    hours = pc.utf8_slice_codeunits(plain, 1, 3).cast(pa.int64()).to_numpy()
    minutes = pc.utf8_slice_codeunits(plain, 3, 5).cast(pa.int64()).to_numpy()
    found: Int64Array = sign * (hours * 3_600 + minutes * 60)
    return found


def _check(text: str, parts: list[str]) -> None:
    found = set(parts)
    if "s" in found and found - {"s", "f"}:
        raise TimeFormatError(f"{text!r}: %s is the whole time; expected %s or %s with a fraction, as in %s.%f")
    if not found & {"s", "H", "I", "d", "j"}:
        raise TimeFormatError(f"{text!r} says no time; expected a format such as %Y-%m-%d_%H-%M-%S")
    if found & {"m", "b", "d", "j"} and not found & {"Y", "y"}:
        raise TimeFormatError(f"{text!r} has no year; expected %Y or %y, or a time of day alone")
    for one, needs in (("d", {"m", "b"}), ("M", {"H", "I"}), ("S", {"M"}), ("f", {"S", "s"}), ("I", {"p"})):
        if one in found and not found & needs:
            raise TimeFormatError(f"{text!r} has %{one} without %{' or %'.join(sorted(needs))}")
    for one, other in (("Y", "y"), ("m", "b"), ("H", "I"), ("j", "m"), ("j", "d")):
        if {one, other} <= found:
            raise TimeFormatError(f"{text!r} has both %{one} and %{other}; expected one of them")
