"""Terminal output of the splits of a dataset and of their leaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.cli.show import out, print_table
from jobs.core.naming import many

_SHOWN = 5
_FAR = 0.25
"""Difference from the requested share of a split, as a fraction of it, from which on it is printed."""
_LEFT_OUT = {
    "near_border": "near a border between splits",
    "shared_track": "with a track that another split has as well",
    "duplicate": "like a frame of another split",
}


def print_split_report(report: Mapping[str, Any]) -> None:
    """Print a `split_report` of a manifest: how streams were divided, what was left out, and the figures of leaks."""
    for text in _ways(report["streams"]):
        out.print(text)
    if left := report["left_out"]:
        reasons = ", ".join(f"{n:,} {_LEFT_OUT[reason]}" for reason, n in left.items())
        out.print(f"left out so that splits do not leak: {reasons}")
    for text in _unlike(report["shares"]):
        out.print(text)
    for text in _crossing(report["tracks_in_several"]):
        out.print(text)
    if given := report["given_by_release"]:
        out.print("in their splits for good: " + ", ".join(f"{n:,} since release {name}" for name, n in given.items()))
    if unsearched := report["duplicates_unknown"]:
        out.print(
            f"near-duplicates are unknown in {_some(unsearched)}, where no stage has searched for them: only frames of "
            "equal content are known to be together"
        )
    print_leaks(report)


def print_leaks(report: Mapping[str, Any]) -> None:
    """Print the figures of `leak_report`."""
    against = report["against"]
    found = report["of"]
    rows: list[tuple[Any, ...]] = [("frames", *(each["frames"] for each in found.values()))]
    for key, text in (("min", "least"), ("p05", "5 % quantile of"), ("median", "median")):
        rows.append((f"{text} distance, frames", *(each["distance"][key] for each in found.values())))
    rows.append(("within one sampling step", *(_share(each["distance"]["within_step"]) for each in found.values())))
    if any(each["without_distance"] for each in found.values()):
        rows.append(("frames without a distance", *(each["without_distance"] for each in found.values())))
    for key, text in (("tracks", "tracks"), ("groups", "groups of duplicates")):
        both = [f"{each[key]['in_both']:,} of {each[key]['in_it']:,}" for each in found.values()]
        rows.append((f"{text} also in {against}", *both))
    leaking = [f"{each['leaking']['frames']:,} ({each['leaking']['share']:.1%})" for each in found.values()]
    rows.append(("frames that leak", *leaking))
    print_table((f"compared with {against}", *found), rows)
    if classes := report["classes"]:
        splits = list(next(iter(classes.values())))
        print_table(("objects", *splits), [(name, *counts.values()) for name, counts in classes.items()])


def _ways(streams: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a line for each way in which streams were divided."""
    named: dict[tuple[str, ...], list[str]] = {}
    for stream, way in streams.items():
        lengths = [f"blocks of {way['block']}"] if "block" in way else []
        lengths += [f"{way['guard']} apart"] if "guard" in way else []
        named.setdefault((way["by"], *lengths), []).append(stream)
    return [f"split by {', '.join(way)}: {_some(names)}" for way, names in named.items()]


def _crossing(tracks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line on the tracks that are in several splits, if there are any."""
    if tracks:
        named = [f"{each['stream_id']} {each['track_id']} (on {many(each['frames'], 'frame')})" for each in tracks]
        yield (
            f"in several splits: {many(len(tracks), 'track')}, {_some(named)}; they last so long, or are on so "
            "many frames "
            "that are in their splits for good, that no division without them leaves enough frames. What may help: "
            "validation frames of another stream, or a longer recording"
        )


def _unlike(shares: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield a line if a split has far from the share of frames that was requested."""
    far = [abs(each["found"] - each["requested"]) > _FAR * each["requested"] for each in shares.values()]
    if any(far):
        named = [f"{name} {each['found']:.1%} ({each['requested']:.0%} requested)" for name, each in shares.items()]
        yield (
            f"shares differ from what was requested: {', '.join(named)}, since whole parts are divided. What may help: "
            "another --seed, shorter parts (--split-by time with --block), more frames"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
