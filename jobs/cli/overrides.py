"""`winnow overrides`: frames that people keep or drop by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.core.naming import many

if TYPE_CHECKING:
    from jobs.review.overrides import FrameId
    from jobs.storage.workspace import Workspace

app = Commands(help="Keep or drop frames by hand, against what curation decides.")

_MOST_DIGITS = 40
_MOST_FRAMES = 1_000_000
_StreamOption = Annotated[str | None, typer.Option("--stream", help="The stream of --frame.", metavar="ID")]
_FrameOption = Annotated[
    list[str] | None,
    typer.Option("--frame", help="Number of a frame, or first-last. Repeat for several.", metavar="NUMBER"),
]
_Where = Annotated[
    str | None,
    typer.Option("--where", help="Frames that fulfil this SQL condition on `curated`.", metavar="SQL"),
]
_ByOption = Annotated[
    str | None, typer.Option("--by", help="Who decides.", metavar="NAME", show_default="name of the account here")
]


@app.command("set")
def set_(
    decision: Annotated[str, typer.Argument(help="keep or drop.")],
    stream: _StreamOption = None,
    frame: _FrameOption = None,
    where: _Where = None,
    note: Annotated[str | None, typer.Option(help="Why.", metavar="TEXT")] = None,
    by: _ByOption = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep or drop frames by hand: the last word on them, in queries, runs, releases and exports from now on.

    Nothing is computed for it, and later runs do not change it. It is valid as long as the frame shows the same image.

    Example: winnow overrides set drop --stream gate --frame 12 --frame 40-55 --note "someone is cleaning the lens"
    """
    from jobs.core.errors import UserError
    from jobs.views.overridden_verdicts import DROP, KEEP

    if decision not in {KEEP, DROP}:
        raise UserError(f"expected {KEEP} or {DROP}, found {decision!r}")
    _record(workspace, _chosen(stream, frame, where), decision, note, by, as_json)


@app.command("remove")
def remove(
    stream: _StreamOption = None,
    frame: _FrameOption = None,
    where: _Where = None,
    by: _ByOption = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave frames to curation again that somebody has kept or dropped by hand.

    Example: winnow overrides remove --where "stream_id = 'gate'"
    """
    _record(workspace, _chosen(stream, frame, where), None, None, by, as_json)


@app.command("list")
def list_(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List what was decided by hand, and by whom.

    Example: winnow overrides list
    """
    import schemas
    from jobs.cli.json_output import print_json
    from jobs.cli.show import moment, print_table
    from jobs.cli.show import out as console
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    rows = Store(Workspace.at(workspace).require().root).read(schemas.OVERRIDES)
    found = rows.sort_by([(name, "ascending") for name in schemas.FRAME_KEY]).to_pylist()
    if as_json:
        print_json(found)
    elif found:
        columns = ("stream_id", "frame_idx", "decision", "author", "note")
        rows_shown = ([*(row[name] for name in columns), moment(row["decided_ns"])] for row in found)
        print_table([*columns, "decided"], rows_shown, exact=True)
    else:
        console.print("no frame was kept or dropped by hand")


def _record(
    at: str | None,
    frames: Callable[[Workspace], list[FrameId]],
    decision: str | None,
    note: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Record a decision on the chosen frames, and print what it changed."""
    from getpass import getuser

    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.review import overrides
    from jobs.storage.workspace import Workspace

    workspace = Workspace.at(at).require()
    wanted = [overrides.Override(*frame, decision, note) for frame in frames(workspace)]
    found = overrides.record(workspace, wanted, getuser() if by is None else by)
    if as_json:
        print_json({"frames": len(wanted), **found.counts})
        return
    words = {"keep": "kept by hand", "drop": "dropped by hand", "removed": "left to curation again"}
    said = [f"{found.counts[key]:,} {text}" for key, text in words.items() if found.counts.get(key)]
    said += [f"{n:,} unchanged"] if (n := found.counts.get("unchanged")) else []
    console.print(f"{many(len(wanted), 'frame')}: {', '.join(said) or 'none is chosen'}")


def _chosen(stream: str | None, frames: list[str] | None, where: str | None) -> Callable[[Workspace], list[FrameId]]:
    """Return what gives the frames that the options choose. Raises `UserError` for options that do not fit."""
    from jobs.core.errors import UserError
    from jobs.review.overrides import frames_where
    from jobs.views.view import View

    if (where is None) == (frames is None):
        raise UserError("expected frames or a condition: give --stream with --frame, or --where")
    if frames is None:
        if stream is not None:
            raise UserError("--stream is that of --frame; write the stream into the condition of --where")
        condition = where or ""
        return lambda workspace: frames_where(View.of(workspace), condition)
    if stream is None:
        raise UserError("--frame: expected the stream of the frames as well, as --stream ID")
    numbers = sorted({number for text in frames for number in _numbers(text)})
    return lambda _: [(stream, number) for number in numbers]


def _numbers(text: str) -> range:
    """Return the numbers that `7` or `7-12` names."""
    from jobs.core.errors import UserError

    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or len(text) > _MOST_DIGITS:
        raise UserError(f"--frame {text[:60]!r}: expected a number, or two as first-last")
    found = range(int(first), int(last or first) + 1)
    if not found or len(found) > _MOST_FRAMES:
        raise UserError(f"--frame {text}: expected 1 to {_MOST_FRAMES:,} frames; for more use --where")
    return found
