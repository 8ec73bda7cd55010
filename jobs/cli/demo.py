"""`winnow demo`: a sample stream, a run on it and what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import JsonOption
from jobs.cli.run import execute
from jobs.core.naming import many


def demo(
    out: Annotated[
        str, typer.Option("--out", help="Where to put the sample and its workspace.", metavar="DIRECTORY")
    ] = "winnow-demo",
    as_json: JsonOption = False,
) -> None:
    """Write a sample stream, run the main job and a detector on it, and compare what was found with what was planted.

    Example: winnow demo --out sample
    """
    from jobs.cli.json_output import print_json
    from jobs.demo import run_demo
    from jobs.storage.paths import folder_on_disk

    result: dict[str, Any] = run_demo(folder_on_disk(out, "--out"), lambda request: execute(request, as_json))
    if as_json:
        print_json(result)
    else:
        print_result(result)


def print_result(result: dict[str, Any]) -> None:
    """Print what was planted and what was found, where the report is, and what to try next."""
    from jobs.cli.next_steps import print_next_steps
    from jobs.cli.show import out, print_table

    rows = [(c["what"], c["planted"], c["found"], c["extra"]) for c in result["checks"]]
    print_table(("", "planted", "found", "false positives"), rows)
    run = result["run"]
    out.print(f"\n{many(run['frames'], 'frame')} of {result['input']} in {run['seconds']:.1f} s")
    out.print(f"report: {result['report']}", soft_wrap=True)
    query = "SELECT unnest(reasons) AS reason, count(*) AS frames FROM curation GROUP BY 1 ORDER BY 2 DESC"
    print_next_steps(
        result["workspace"],
        ("sql", query),
        ("run", "--input", Path(result["input"]).absolute(), "--set", "curation.dark_mean=20", "--dry-run"),
        ("export", "--format", "coco", "--out", "dataset", "--split", "train=0.8,val=0.2"),
        ("inspect tables",),
    )
