"""The time at which a clip begins: what its container says, or else what its name says."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import PurePath
from typing import Literal, NamedTuple

from transforms.frames.container import clip_source, open_clip, video_of

_KEYS = ("com.apple.quicktime.creationdate", "creation_time")
# Cameras without a clock write the epoch of QuickTime (1904), of Unix or of FAT (1980).
_EARLIEST = dt.datetime(1981, 1, 1, tzinfo=dt.UTC)
_IN_NAME = re.compile(
    r"(?<!\d)(?P<Y>(?:19|20)\d\d)(?P<sep>[-_.]?)(?P<m>[01]\d)(?P=sep)(?P<d>[0-3]\d)[-_T. ]{0,2}"
    r"(?P<H>[0-2]\d)(?P<sep2>[-_.:]?)(?P<M>[0-5]\d)(?P=sep2)(?P<S>[0-5]\d)(?P<f>\d{3})?(?!\d)"
)


class ClipTime(NamedTuple):
    """When the first frame was taken, in ns since 1970, and what says so."""

    begin_ns: int
    source: Literal["container", "name"]


def clip_time(path: str) -> ClipTime | None:
    """Return when a clip begins, None where neither container nor name say it, or where they say no such time.

    Times without an offset from UTC are taken as if they were UTC; those in names have none. Raises `ClipError` and
    `OSError` as `open_clip`.
    """
    with open_clip(clip_source(path)) as container:
        said = [{**video_of(container).metadata}, {**container.metadata}]
    for key in _KEYS:
        for metadata in reversed(said):
            taken = _moment(str(metadata.get(key, "")))
            if taken is not None:
                return ClipTime(_ns(taken), "container")
    named = _of_name(PurePath(path).name)
    return None if named is None else ClipTime(_ns(named), "name")


def _moment(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    return found if found >= _EARLIEST else None


def _of_name(name: str) -> dt.datetime | None:
    """Return the one date with a time of day in a name; None for none, and for several."""
    found = list(_IN_NAME.finditer(name))
    if len(found) != 1:
        return None
    parts = found[0].groupdict()
    try:
        taken = dt.datetime(*(int(parts[part]) for part in "YmdHMS"), tzinfo=dt.UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    return taken + dt.timedelta(milliseconds=int(parts["f"] or 0))


def _ns(moment: dt.datetime) -> int:
    """Return a moment in ns since 1970, exactly."""
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
