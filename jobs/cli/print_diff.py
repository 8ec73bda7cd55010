"""Terminal output of the difference of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from jobs.cli.show import print_table
from jobs.core.naming import many


def print_diff(out: Console, found: Mapping[str, Any]) -> None:
    """Print settings that differ, a line per stage, verdicts by reason, and a few of the rows."""
    one, other = found["runs"]
    out.print(f"{one} -> {other}: {'the same rows' if found['same'] else 'rows differ'}")
    for key, (was, now) in found["parameters"].items():
        out.print(f"  {key}: {was} -> {now}", markup=False)
    stages = found["stages"]
    counts = ("n_before", "n_after", "added", "gone", "changed")
    rows = [
        (name, *(stage.get(c) for c in counts), ", ".join(f"{c} {n:,}" for c, n in stage.get("columns", {}).items()))
        for name, stage in stages.items()
        if stage["differing"]
    ]
    if rows:
        print_table(("stage", "rows", "rows then", "added", "gone", "changed", "columns"), rows)
    for side, counted in (item for stage in stages.values() for item in stage.get("verdicts", {}).items()):
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in counted.items() if reason != "frames") or "none"
        then = "then dropped for" if side == "newly_dropped" else "before dropped for"
        if counted["frames"]:
            out.print(f"{side.replace('_', ' ')}: {many(counted['frames'], 'frame')}; {then}: {reasons}")
    for name, stage in stages.items():
        for example in stage.get("examples", ()):
            out.print(f"  {name} {_place(example)}: {_what(example)}", markup=False)


def _place(example: Mapping[str, Any]) -> str:
    numbers = [example[n] for n in ("frame_idx", "start_idx", "end_idx") if n in example]
    return f"{example['stream_id']} {'-'.join(str(n) for n in numbers)}"


def _what(example: Mapping[str, Any]) -> str:
    if "only" in example:
        return "only in the first run" if example["only"] == "before" else "only in the second run"
    return ", ".join(f"{name} {_value(was)} -> {_value(now)}" for name, (was, now) in example["changed"].items())


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
