"""`winnow evaluate`: results compared with labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import JsonOption, ReleaseOption, RunOption, WorkspaceOption
from jobs.core.choices import IouType
from jobs.core.naming import many

app = Commands(help="Compare results with labels.")


@app.command()
def curation(
    labels: Annotated[list[Path], typer.Option("--labels", "-l", help="CSV or JSON with labels. Repeat for several.")],
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Write a page with plots to this HTML file.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure flags, duplicate pairs and idle intervals against labels, and suggest thresholds.

    Labels are CSV files, recognised by their headers (stream_id, frame_idx, and any of blurry, dark, overexposed,
    low_information; stream_id_a, frame_idx_a, stream_id_b, frame_idx_b, duplicate; stream_id, start_idx, end_idx), or
    JSON with lists of such rows under frames, pairs and idle.

    Example: winnow evaluate curation --labels night.csv --out night.html
    """
    from jobs.analysis.curation_eval import evaluate, page
    from jobs.analysis.labels import read_labels
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.cli.show import print_table
    from jobs.storage import paths
    from jobs.storage.workspace import Workspace
    from jobs.views.view import View

    place = Workspace.at(workspace)
    read = read_labels(labels)
    found = evaluate(View.of(place, run, release), read)
    if out is not None:
        names = ", ".join(path.name for path in labels)
        paths.place(out).write(page(found, f"Winnow: {place.root.name} against labels", names).encode())
    plain = found.to_dict()
    if as_json:
        print_json(plain)
        return
    if plain["flags"]:
        columns = list(plain["flags"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["flags"]), "flags")
    if plain["groups"]:
        columns = list(plain["distances"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["distances"]), "pairs by Hamming distance")
        groups = plain["groups"]
        print_table(list(groups), [list(groups.values())], "pairs in one group")
    if plain["idle"]:
        columns = list(plain["idle"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["idle"]), "idle intervals")
    # Intervals have other measures than pairs: a table for each.
    for what, kind in (("precision", "duplicates"), ("iou", "idle intervals")):
        rows = [row for row in plain["thresholds"] if what in row]
        if rows:
            columns = list(rows[0])
            print_table(columns, ([row[c] for c in columns] for row in rows), f"suggested for {kind}")
    if out is not None:
        console.print(f"plots: {paths.absolute(out)}", soft_wrap=True)


@app.command()
def detections(
    truth: Annotated[Path, typer.Option("--truth", "-t", help="COCO file with the labelled objects.")],
    found: Annotated[
        Path | None, typer.Option("--detections", help="COCO results to score, instead of a workspace's annotations.")
    ] = None,
    workspace: WorkspaceOption = None,
    run: RunOption = None,
    release: ReleaseOption = None,
    iou: Annotated[IouType, typer.Option(help="Compare boxes or masks.")] = "bbox",
    min_score: Annotated[
        float, typer.Option(help="Least score for precision, recall and confusion; AP takes all.", min=0, max=1)
    ] = 0.25,
    as_found: Annotated[bool, typer.Option("--as-found", help="Score what models found, without the reviews.")] = False,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Write a page with plots to this HTML file.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score annotations against labelled objects: COCO's average precision, and figures by category.

    Images of the ground truth are matched with frames by their file names. Those that match no frame, or several, or
    were not annotated are reported, and not scored. To compare figures with published ones, annotate with a low
    min_score, such as 0.001.

    Example: winnow evaluate detections --truth instances.json --out detections.html
    """
    from jobs.analysis.detection_eval import evaluate_files, evaluate_view, left_out, page
    from jobs.cli.json_output import print_json
    from jobs.cli.show import err, print_table
    from jobs.cli.show import out as console
    from jobs.core.errors import UserError
    from jobs.storage import paths
    from jobs.storage.workspace import Workspace
    from jobs.views.view import View

    if found is not None and (run or release):
        raise UserError("--detections scores a file; --run and --release read a workspace: expected one of them")
    if found is not None:
        result = evaluate_files(truth, found, iou, min_score)
    else:
        view = View.of(Workspace.at(workspace), run, release)
        result = evaluate_view(view, truth, iou, min_score, as_found)
    if out is not None:
        paths.place(out).write(page(result, "Winnow: detections against labels", truth.name).encode())
    for line in left_out(result.matching):
        err.print(f"not scored: {line}", soft_wrap=True)
    if result.matching.unreviewed:
        err.print(
            f"warning: {result.matching.unreviewed:,} of {result.n_truth:,} labelled objects are what models of this "
            "workspace found, and no person has reviewed: agreement with them says nothing of the ground truth",
            soft_wrap=True,
        )
    plain = result.to_dict()
    if as_json:
        print_json(plain)
        return
    console.print(f"{many(result.n_images, 'image')}, {result.n_truth:,} labelled objects, {result.n_found:,} found")
    print_table(("measure", "value"), [(name, plain[name]) for name in result.scores.metrics])
    if plain["classes"]:
        columns = list(plain["classes"][0])
        print_table(columns, ([row[c] for c in columns] for row in plain["classes"]), "by category")
    if out is not None:
        console.print(f"plots: {paths.absolute(out)}", soft_wrap=True)


@app.command()
def model(
    version: Annotated[str, typer.Argument(help="The model, as in yard@3.", metavar="NAME@VERSION")],
    on: Annotated[
        str,
        typer.Option("--on", help="Frames to measure it on: a split of a release, or a whole one.", metavar="PLACE"),
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", help="Model to compare it with on the same frames.", metavar="NAME@VERSION|@ALIAS"),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the processor to use.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what was measured before.")] = False,
    submit: Annotated[bool, typer.Option("--submit", help="Leave it to a gateway, and print the job's id.")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained model on frames that it has not seen, and compare it with another one.

    The test split of a release is opened for this alone, and each use is counted in the table test_uses. Figures of
    all, of each category, stream and hour are in evaluation_figures; the 50 frames with the most errors are a
    selection. Two models are compared by a paired bootstrap over streams or scenes, and where there are fewer than 8
    of these, the answer is that nobody can tell.

    Example: winnow evaluate model yard@3 --on release:v1/test --against @champion
    """
    from getpass import getuser

    from jobs.cli.json_output import print_job_id, print_json
    from jobs.cli.print_evaluation import print_evaluation
    from jobs.cli.run_task import run_task
    from jobs.dispatch import tasks
    from jobs.evaluation.options import EvaluateOptions
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace)
    job_id = tasks.submit(
        place, EvaluateOptions(model=version, on=on, against=against, by=getuser(), threads=threads, fresh=fresh)
    )
    if submit:
        print_job_id(job_id, as_json)
        return
    result = run_task(place, job_id, as_json, f"evaluation {job_id}", f"winnow job resume {job_id}")
    if as_json:
        print_json({"job_id": job_id, "state": "done", **result})
        return
    print_evaluation(place, result)
