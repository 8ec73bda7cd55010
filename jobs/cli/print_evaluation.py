"""An evaluation of a model, printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.core.naming import many

if TYPE_CHECKING:
    from jobs.storage.workspace import Workspace

_VERDICTS = {
    "better": "better",
    "not_better": "not better for sure",
    "worse": "worse",
    "cannot_tell": "cannot tell: too few streams or scenes",
}


def print_evaluation(place: Workspace, result: dict[str, Any]) -> None:
    """Print the figures of an evaluation by category, and how it compares."""
    from jobs.cli.show import out as console
    from jobs.cli.show import print_table
    from jobs.evaluation.evaluation_rows import figures_by

    console.print(
        f"{result['model']} on {result['on']}: {many(result['frames'], 'frame')}, {many(result['objects'], 'object')}, "
        f"{many(result['units'], 'unit')}; these frames were opened {many(result['uses'], 'time')}",
        soft_wrap=True,
    )
    print_table(("AP", "AP50", "AP75", "APs", "APm", "APl"), [[_figure(result[n]) for n in _MAIN]])
    for part in ("category", "stream", "hour"):
        found = figures_by(place, result["evaluation_id"], part)
        if len(found) > 1 or part == "category":
            columns = ("objects", "AP", "AP50", *(("precision", "recall", "threshold") if part == "category" else ()))
            rows = [(of, *(_figure(values.get(name), name) for name in columns)) for of, values in found.items()]
            print_table((part, *columns), rows)
    if against := result.get("against"):
        difference = against["difference"]
        bounds = (
            ""
            if difference["mean"] is None
            else (f" by {difference['mean']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})")
        )
        console.print(f"against {against['model']}: {_VERDICTS[against['verdict']]}{bounds}", soft_wrap=True)
    console.print(f"frames with the most errors: selection {result['worst']}", soft_wrap=True)


_MAIN = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def _figure(value: float | None, name: str = "") -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if name == "objects" else f"{value:.3f}"
