"""`winnow select`: a sample of the kept frames."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, cast, get_args

import typer

from jobs.cli.options import JsonOption, ReleaseOption, RunOption, WhereOption, WorkspaceOption
from jobs.core.choices import Balance, CompareBy
from transforms.curate.strategy import Strategy

_Part = StrEnum("_Part", get_args(Balance))  # type: ignore[misc] # typer takes no list of literals


def select(
    n: Annotated[int | None, typer.Option("--n", "-n", help="How many frames to choose.", min=1)] = None,
    fraction: Annotated[
        float | None,
        typer.Option(help="Share of the kept frames to choose, less those that are selected already.", min=0, max=1),
    ] = None,
    strategy: Annotated[
        Strategy,
        typer.Option(
            "--strategy",
            "-s",
            help="uniform: at equal distances. stratified: equal shares, of each the best frames. diverse: as unlike "
            "as possible. coverage: so that every frame has a chosen one that is like it.",
        ),
    ] = "diverse",
    name: Annotated[str, typer.Option(help="Name of the selection; one of that name is replaced.")] = "selection",
    balance: Annotated[
        list[_Part] | None,
        typer.Option(
            help="Give equal shares to streams, scenes or hours (UTC). Repeat for several.",
            metavar="stream|scene|hour",
        ),
    ] = None,
    after: Annotated[
        list[str] | None,
        typer.Option(
            help="Selection, release or RELEASE:SELECTION whose frames are selected already. Repeat for several.",
            metavar="NAME",
        ),
    ] = None,
    by: Annotated[
        CompareBy | None,
        typer.Option(
            help="What diverse and coverage compare frames by: their layouts, or what they show.",
            show_default="embedding where all frames have one",
        ),
    ] = None,
    quality: Annotated[
        float,
        typer.Option(help="How much less the softest frame of a stream is worth than its sharpest.", min=0, max=1),
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers of coverage.", min=0)] = 0,
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    where: WhereOption = None,
    list_: Annotated[bool, typer.Option("--list", help="List the selections there are, and choose nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose some of the kept frames, never two of one group of duplicates, and record which and why.

    The rows are in the table `selections`; `winnow export --selection NAME` exports the frames, and --list lists the
    selections.

    Example: winnow select --n 500 --strategy diverse --name week-47
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out
    from jobs.datasets.frame_sampling import SelectRequest
    from jobs.datasets.frame_sampling import select as choose
    from jobs.storage.workspace import Workspace

    if list_:
        _print_selections(workspace, as_json)
        return
    request = SelectRequest(
        name,
        strategy,
        n,
        fraction,
        tuple(cast("Balance", part.value) for part in balance or ()),
        tuple(after or ()),
        where,
        quality,
        seed,
        by,
        run,
        release,
    )
    found = choose(Workspace.at(workspace), request)
    if as_json:
        print_json(found)
        return
    basis = f" by {found['by']}" if found["by"] else ""
    out.print(f"selection {name}: {found['chosen']:,} of {found['of']:,} kept frames, {strategy}{basis}")
    if found["by_file_time"]:
        out.print(
            f"the hours of {found['by_file_time']:,} frames are those at which their files were last changed, which "
            "copies change: neither names nor EXIF say their times (ingest.name, ingest.times)"
        )
    for stream, count in found["streams"].items():
        out.print(f"  {stream}  {count:,}")
    if found["chosen"] < found["asked"]:
        out.print(
            f"there are no more: {found['asked']:,} were requested, and no two of one group of duplicates are chosen"
        )


def _print_selections(workspace: str | None, as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import moment, print_table
    from jobs.core.naming import shortened
    from jobs.datasets.frame_sampling import selections
    from jobs.storage.workspace import Workspace

    found = selections(Workspace.at(workspace))
    if as_json:
        print_json(found)
        return
    rows = [
        (row["selection"], row["n_frames"], row["strategy"], shortened(row["streams"]), moment(row["created_ns"]))
        for row in found
    ]
    print_table(("selection", "frames", "strategy", "streams", "created"), rows)
