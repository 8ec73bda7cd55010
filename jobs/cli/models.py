"""`winnow models`: weights by name, and the registry of trained ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.options import DryRunOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from jobs.evaluation.promotion import Evidence
    from jobs.models.weights_store import WeightsEntry

app = Commands(
    help="Weights by name: their sources and licences (that of yolo26 is AGPL-3.0, which obliges anybody who offers a "
    "service with it to publish the source of the whole program). And the registry of models that were trained here."
)

Names = Annotated[list[str] | None, typer.Argument(help="Names; all of them if none is given.", show_default=False)]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the weights that can be pulled by name, and which are here: in $WINNOW_WEIGHTS, or the user's cache.

    Example: winnow models list
    """
    from jobs.models.weights_store import entries

    _show(entries(), as_json)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Name, as winnow models list shows it.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Read it from this URL or file instead.", metavar="URL|FILE")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Accept another hash than an earlier pull recorded; never another than the catalogue names."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download weights, which must have the hash that the catalogue names, if any; later pulls must have the same.

    Example: winnow models pull yolox-nano --from yolox_nano.onnx
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from jobs.cli.json_output import print_json
    from jobs.cli.show import err
    from jobs.cli.show import out as console
    from jobs.models.weights_store import pull as download

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        entry = download(
            name,
            source,
            lambda done, total: bar.update(task, completed=done, total=total),
            force,
            lambda text: err.print(f"note: {text}", soft_wrap=True, markup=False),
        )
    if entry.model.restriction:
        err.print(f"{name} is under {entry.model.licence}: {entry.model.restriction}", soft_wrap=True)
    if as_json:
        print_json(entry.to_dict())
    else:
        console.print(f"{name}: {entry.path}, {entry.model.licence}, SHA-256 {entry.sha256}", soft_wrap=True)


@app.command()
def verify(names: Names = None, as_json: JsonOption = False) -> None:
    """Compare the weights that are here with their hashes; exit with 1 if one is altered.

    Example: winnow models verify
    """
    from jobs.models.weights_store import entries

    found = [entry for entry in entries(names or (), verify=True) if names or entry.state != "missing"]
    _show(found, as_json)
    if any(entry.state != "present" for entry in found):
        raise typer.Exit(1)


@app.command()
def versions(
    name: Annotated[str | None, typer.Argument(help="Name of a trained model; all of them without it.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of the models that were trained here, with their figures, and the aliases they have now.

    Example: winnow models versions yard
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_table
    from jobs.models.registry_overview import described
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    found = described(Store(Workspace.at(workspace).require().root), name)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            f"{each['name']}@{each['version']}",
            ", ".join(each["aliases"]),
            _figure(each["metrics"].get("AP")),
            _figure(each["metrics"].get("AP50")),
            each["release"] or "",
            each["base"],
            each["licence"],
            each["model_id"][:12],
        )
        for each in found
    ]
    print_table(("version", "aliases", "AP", "AP50", "release", "trained from", "licence", "hash"), rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


Version = Annotated[str, typer.Argument(help="The version, as in yard@3.", metavar="NAME@VERSION")]
Alias = Annotated[str, typer.Option("--alias", help="The alias.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why, which is kept with the change.")]


@app.command()
def promote(
    version: Version,
    alias: Alias = "champion",
    expect: Annotated[
        int | None, typer.Option("--expect", help="Only if the alias is this version now, 0 for none.", min=0)
    ] = None,
    reason: Reason = None,
    force: Annotated[
        str | None,
        typer.Option("--force", help="Although evidence is missing or against it; the reason stays.", metavar="REASON"),
    ] = None,
    dry_run: DryRunOption = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an alias refer to a version: annotate.weights=models:NAME@champion takes it from the next run on.

    A champion needs evidence: an evaluation on frames that it has not seen, and one against the champion before it that
    says it is better. Without, this exits with 1, and prints what is missing; --dry-run prints all clauses of the rule.
    Other aliases are free.

    Example: winnow models promote yard@3 --force "finds bicycles"
    """
    from jobs.evaluation import promotion
    from jobs.models import registry
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
    if dry_run:
        _print_evidence(promotion.evidence_for(store, registry.find(store, version)), as_json)
        return
    row = promotion.promote(store, version, alias, by=_user(), reason=reason, expect=expect, force=force)
    _print_change(row, as_json)


def _print_evidence(evidence: Evidence, as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import print_table

    if as_json:
        clauses = [vars(clause) for clause in evidence.clauses]
        print_json({"holds": evidence.holds, "clauses": clauses, "evaluation_id": evidence.evaluation_id})
    else:
        rows = [("yes" if each.holds else "no", each.name, each.text) for each in evidence.clauses]
        print_table(("holds", "clause", "by"), rows)
    if not evidence.holds:
        raise typer.Exit(1)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="Name of a trained model.")],
    alias: Alias = "champion",
    reason: Reason = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an alias refer to the version that it referred to before; that is a change like others, and is kept.

    Example: winnow models rollback yard
    """
    from jobs.models import registry
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
    _print_change(registry.roll_back(store, name, alias, by=_user(), reason=reason), as_json)


@app.command()
def history(
    name: Annotated[str, typer.Argument(help="Name of a trained model.")],
    alias: Annotated[str | None, typer.Option("--alias", help="Only this alias.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which version was champion when, by whom, and why.

    Example: winnow models history yard
    """
    from jobs.cli.json_output import print_json
    from jobs.cli.show import moment, print_table
    from jobs.models import registry
    from jobs.storage.store import Store
    from jobs.storage.workspace import Workspace

    store = Store(Workspace.at(workspace).require().root)
    registry.versions(store, name)
    found = registry.history(store, name, alias)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            moment(row["at_ns"]),
            row["alias"],
            row["version"],
            row["previous"] or "",
            row["by"],
            "forced" if row["is_forced"] else (row["evaluation_id"] or "")[:12],
            row["reason"] or "",
        )
        for row in found
    ]
    print_table(("since", "alias", "version", "before", "by", "evidence", "why"), rows)


def _user() -> str:
    from getpass import getuser

    return getuser()


def _print_change(row: dict[str, Any], as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console

    if as_json:
        print_json(row)
        return
    before = f", before that {row['previous']}" if row["previous"] else ""
    console.print(f"{row['name']}@{row['alias']} is version {row['version']}{before}", soft_wrap=True)


def _show(listed: list[WeightsEntry], as_json: bool) -> None:
    from jobs.cli.json_output import print_json
    from jobs.cli.show import out as console
    from jobs.cli.show import print_table
    from jobs.models.locations import folder

    if as_json:
        print_json([entry.to_dict() for entry in listed])
        return
    rows = [
        (e.model.name, e.state, e.model.licence, e.model.extra, e.revision[:12], (e.sha256 or "")[:16], _pinned(e))
        for e in listed
    ]
    print_table(("name", "state", "licence", "extra", "revision", "SHA-256", "pinned by"), rows)
    console.print(f"in {folder()}", soft_wrap=True)


def _pinned(entry: WeightsEntry) -> str:
    return entry.pinned or "not yet: by the first pull"
