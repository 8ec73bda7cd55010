"""`winnow loop`: loops of active learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import DryRunOption, JsonOption, ProfileOption, SettingsOption, WorkspaceOption
from jobs.core.choices import ReviewFormat

if TYPE_CHECKING:
    from jobs.active_learning.explain import LoopStatus
    from jobs.active_learning.options import LoopOptions
    from jobs.storage.workspace import Workspace

app = Commands(help="Have people review where a model is uncertain, train it on that, and measure it, in rounds.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the loop.", show_default=False)]
SubmitOption = Annotated[bool, typer.Option("--submit", help="Leave it to a gateway.")]


@app.command()
def start(
    name: Annotated[str, typer.Option("--name", help="Name of the loop, and of the model that it trains.")],
    inputs: Annotated[
        list[str], typer.Option("--input", "-i", help="Folder or file to learn from. Repeat for several.")
    ],
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="What versions are measured on: a release of other streams, or a split of one.",
            metavar="PLACE",
        ),
    ],
    target: Annotated[
        str, typer.Option("--target", help="Figure to reach there: AP, AP50 or AP75.", metavar="FIGURE=VALUE")
    ],
    model: Annotated[
        str, typer.Option("--model", help="What the first training starts from, as in `winnow train`.")
    ] = "torchvision:fasterrcnn-tiny",
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="What annotates until there is a version of the model; without, the first round is chosen by chance.",
        ),
    ] = None,
    people: Annotated[int, typer.Option("--people", min=1, help="Frames that people review in all.")] = 300,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds at most.")] = 6,
    per_round: Annotated[
        int | None,
        typer.Option("--per-round", min=1, help="Frames of a round at most.", show_default="an equal share"),
    ] = None,
    random_share: Annotated[
        float, typer.Option("--random", min=0, max=1, help="Share of a round's frames that chance chooses.")
    ] = 0.1,
    policy: Annotated[
        str, typer.Option("--policy", help="uncertain, or random: all frames are chosen by chance.")
    ] = "uncertain",
    min_reviewed: Annotated[
        float, typer.Option("--min-reviewed", help="Share of a round's frames with which it continues.", min=0, max=1)
    ] = 1.0,
    wait_hours: Annotated[
        float | None,
        typer.Option("--wait-hours", min=0, help="Hours after which half of a round's frames is enough."),
    ] = None,
    larger: Annotated[
        int,
        typer.Option("--larger", min=0, help="Frames of a round for the detector of --set route.larger=WEIGHTS."),
    ] = 0,
    questions: Annotated[
        int, typer.Option("--questions", min=0, help="Questions to a vision language model in each round.")
    ] = 0,
    usd: Annotated[float, typer.Option("--usd", min=0, help="What these may cost in all.")] = 0.0,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0, help="Minutes of training in all.")] = None,
    patience: Annotated[int, typer.Option("--patience", min=1, help="End after so many rounds without a gain.")] = 3,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make a better version the champion, and not only the challenger.")
    ] = False,
    from_base: Annotated[
        bool, typer.Option("--from-base", help="Start each training from --model, not from the last better version.")
    ] = False,
    train: Annotated[
        list[str] | None,
        typer.Option("--train", help="An option of `winnow train`, as in epochs=30.", metavar="KEY=VALUE"),
    ] = None,
    profile: ProfileOption = "annotate",
    settings: SettingsOption = None,
    format_: Annotated[ReviewFormat, typer.Option("--format", "-f", help="The tool that people review with.")] = "coco",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is left to chance.")] = 0,
    submit: SubmitOption = False,
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a loop: annotate, choose frames, have people review them, train, measure, promote or not, and once more.

    It is a job of jobs: each step is recorded before it begins, so that a loop that is killed continues, with no job
    done twice. It ends when its target is met, a budget is used up, or more of the same does not help, and says why.
    While it waits for people it holds nothing: their files are in the folder that it prints, and the frames are in the
    queue of `winnow serve`.

    Example: winnow loop start --name yard --input /data/cam1 --on release:yard-test --target AP50=0.9 --people 300
    """
    from getpass import getuser

    from pydantic import ValidationError

    from jobs.active_learning.options import LoopOptions
    from jobs.cli.key_values import key_values
    from jobs.core.errors import UserError
    from jobs.dispatch import loop_control
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    given: dict[str, Any] = {
        "name": name,
        "inputs": tuple(inputs),
        "model": model,
        "on": on,
        "target": target,
        "weights": weights,
        "profile": profile or "annotate",
        "settings": tuple(settings or ()),
        "policy": policy,
        "rounds": rounds,
        "people": people,
        "per_round": per_round,
        "random_share": random_share,
        "min_reviewed": min_reviewed,
        "wait_hours": wait_hours or None,
        "larger": larger,
        "questions": questions,
        "usd": usd,
        "minutes": minutes or None,
        "patience": patience,
        "promote": promote,
        "from_base": from_base,
        "training": dict(key_values("--train", train or ())),
        "format": format_,
        "seed": seed,
        "by": getuser(),
    }
    try:
        options = LoopOptions.model_validate(given)
    except ValidationError as error:
        raise UserError([f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]) from error
    if dry_run:
        _print_plan(place, options, as_json)
        return
    job_id = loop_control.start(place, options)
    _continue(place, name, job_id, submit, as_json)


def _print_plan(place: Workspace, options: LoopOptions, as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.dispatch import loop_control

    loop_control.check(place, options)
    if as_json:
        print_json({"dry_run": True, "per_round": options.frames_a_round, **options.model_dump(mode="json")})
        return
    by = options.weights or f"the champion of {options.name} if there is one, else nothing: by chance"
    console.print(
        f"up to {options.rounds} rounds of {options.frames_a_round:,} frames, {options.people:,} in all, until "
        f"{options.target} on {options.on}; the first ones are chosen with {by}",
        soft_wrap=True,
    )


def _continue(place: Workspace, name: str, job_id: str, submit: bool, as_json: bool) -> None:
    """Run the job of a loop in this process, or leave it to a gateway; print where it stands."""
    from jobs.active_learning import explain
    from jobs.cli.run_task import run_task
    from jobs.core.errors import StoppedRunError

    if not submit:
        try:
            run_task(place, job_id, as_json, f"loop {name}", f"winnow loop resume {name}")
        except StoppedRunError:
            if explain.status(place, name).review is None:
                raise
    _print_status(explain.status(place, name), as_json)


@app.command()
def resume(
    name: NameArgument, submit: SubmitOption = False, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Continue a loop that is paused, has failed, or waits for people: here, or by a gateway.

    A step that has failed is tried again; what is done is not done twice.

    Example: winnow loop resume yard
    """
    from jobs.dispatch import loop_control
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    _continue(place, name, loop_control.resume(place, name), submit, as_json)


@app.command()
def pause(
    name: NameArgument,
    wait: Annotated[float, typer.Option(min=0, help="Wait up to this many seconds for it.", metavar="SECONDS")] = 10.0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a loop, and the job of its step with it.

    Example: winnow loop pause yard
    """
    from jobs.active_learning import explain
    from jobs.dispatch import loop_control
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    loop_control.pause(place, name, wait)
    _print_status(explain.status(place, name), as_json)


@app.command()
def stop(name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """End a loop for good: at once where no process runs it, else before its next step. What it has made stays.

    Example: winnow loop stop yard
    """
    from getpass import getuser

    from jobs.active_learning import explain
    from jobs.dispatch import loop_control
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    loop_control.stop(place, name, getuser())
    _print_status(explain.status(place, name), as_json)


@app.command()
def undo(
    name: NameArgument,
    number: Annotated[int, typer.Option("--round", help="Number of the round, its last one.", min=1)],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo the last round of a loop: the alias that it changed goes back. Its release and all reviews stay.

    Example: winnow loop undo yard --round 3
    """
    from getpass import getuser

    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.dispatch import loop_control
    from jobs.storage.workspace import Workspace

    found = loop_control.undo(Workspace.at(workspace), name, number, getuser())
    if as_json:
        print_json(found)
        return
    alias = f"; {name}@{found['alias']} is version {found['version'] or 'none'}" if found["alias"] else ""
    kept = f"; release {found['release']} stays" if found["release"] else ""
    console.print(f"round {number} is undone{alias}{kept}; `winnow loop resume {name}` continues", soft_wrap=True)


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Name of a loop; all without.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a loop stands, or all of them: round, step, frames, and what is left.

    Example: winnow loop status yard
    """
    from jobs.active_learning import explain
    from jobs.active_learning.loop_log import loops_of
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_table
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace).require()
    if name is not None:
        _print_status(explain.status(place, name), as_json)
        return
    found = [explain.status(place, each) for each in loops_of(place.root)]
    if as_json:
        print_json([_plain(each) for each in found])
        return
    rows = [(each.name, each.state, each.job_state, each.round, each.spent.frames, each.left.frames) for each in found]
    print_table(("loop", "state", "job", "round", "frames asked", "left"), rows)


@app.command()
def explain(name: NameArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Say what a loop did and why: what each step came to, figures, what is left, why it continues or has ended.

    Example: winnow loop explain yard
    """
    from dataclasses import asdict

    from jobs.active_learning import explain as explanations
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    if as_json:
        rounds = [asdict(each) for each in explanations.accounts(place, name)]
        curve = [asdict(each) for each in explanations.curve_of(place, name)]
        print_json({**_plain(explanations.status(place, name)), "rounds": rounds, "curve": curve})
        return
    for line in explanations.lines(place, name):
        console.print(line, soft_wrap=True, markup=False)


def _plain(found: LoopStatus) -> dict[str, Any]:
    folder, reviewed, asked = found.review or (None, None, None)
    return {
        "loop": found.name,
        "state": found.state,
        "why": found.why,
        "job_id": found.job_id,
        "job_state": found.job_state,
        "error": found.error,
        "round": found.round,
        "step": found.step,
        "spent": vars(found.spent),
        "left": vars(found.left),
        "folder": None if folder is None else str(folder),
        "reviewed": reviewed,
        "asked": asked,
    }


def _print_status(found: LoopStatus, as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console

    if as_json:
        print_json(_plain(found))
        return
    where = "" if found.is_over else f", round {found.round}"
    why = found.error or found.why
    job = "" if found.is_over or found.review else f" (job {found.job_id} is {found.job_state})"
    console.print(
        f"loop {found.name}{where}: {found.state.replace('_', ' ')}{job}: {why}", soft_wrap=True, markup=False
    )
    if found.review is not None:
        folder, reviewed, asked = found.review
        console.print(
            f"{reviewed:,} of {asked:,} frames are reviewed; they are in {folder}: bring them back with `winnow review "
            f"import FILE`, or review them in the browser; then `winnow loop resume {found.name}`",
            soft_wrap=True,
            markup=False,
        )
