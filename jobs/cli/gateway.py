"""`winnow gateway`: the process that runs queued jobs, its state, service and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.commands import Commands
from jobs.cli.exit import STRICT
from jobs.cli.json_output import print_json
from jobs.cli.options import JsonOption, WorkspaceOption
from jobs.cli.places import root_of

if TYPE_CHECKING:
    from jobs.records.run_record import RunRecord
    from jobs.runs.prepare import RunRequest

app = Commands(help="Run the jobs of the workspace's queue.")

MaxJobsOption = Annotated[
    int,
    typer.Option("--max-jobs", min=1, help="Jobs at a time. One takes all cores, unless resources.num_cpus is set."),
]
AttemptsOption = Annotated[int, typer.Option("--attempts", min=1, help="Attempts before a job has failed for good.")]
BackoffOption = Annotated[
    float,
    typer.Option(
        "--backoff", min=0, help="Seconds before the second attempt; four times as many before each further one."
    ),
]
GraceOption = Annotated[
    float, typer.Option("--grace", min=0, help="Seconds that jobs may take to commit when the gateway stops.")
]
MetricsOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Answer Prometheus at http://127.0.0.1:PORT/metrics; 0 takes a free port.",
        metavar="PORT",
        show_default="no metrics",
    ),
]


def _options(max_jobs: int, attempts: int, backoff: float, grace: float, metrics_port: int | None) -> tuple[str, ...]:
    values = {"--max-jobs": max_jobs, "--attempts": attempts, "--backoff": backoff, "--grace": grace}
    # All digits are kept; a whole number has to be written without a point.
    given = [part for name, value in values.items() for part in (name, repr(value).removesuffix(".0"))]
    return (*given, *(() if metrics_port is None else ("--metrics-port", str(metrics_port))))


@app.command()
def start(
    workspace: WorkspaceOption = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal; Ctrl-C stops it.")] = False,
    max_jobs: MaxJobsOption = 1,
    attempts: AttemptsOption = 3,
    backoff: BackoffOption = 10.0,
    grace: GraceOption = 30.0,
    metrics_port: MetricsOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write the log to its file only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the gateway, which runs queued jobs by priority and age; a workspace has one at most.

    A job whose process dies is retried, after longer and longer waits. Stopping the gateway lets jobs commit and puts
    them back into the queue.

    Example: winnow gateway start --metrics-port 9464
    """
    from jobs.storage.workspace import Workspace

    root = Workspace.at(workspace).create().root
    if foreground:
        from jobs.dispatch.gateway import Gateway, GatewayOptions
        from jobs.dispatch.gateway_files import log_path
        from jobs.dispatch.jsonlog import JsonLog

        options = GatewayOptions(max_jobs, attempts, backoff, grace, metrics_port)
        Gateway(root, options, JsonLog(log_path(root), aloud=not quiet)).serve()
        return
    from jobs.dispatch import daemon

    found = daemon.start(root, _options(max_jobs, attempts, backoff, grace, metrics_port))
    if as_json:
        print_json({name: found.get(name) for name in ("pid", "host", "metrics_port")})
        return
    metrics = f"; metrics at http://127.0.0.1:{found['metrics_port']}/metrics" if found.get("metrics_port") else ""
    typer.echo(f"gateway of {root}: process {found['pid']}{metrics}")


@app.command()
def stop(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Stop the gateway: running jobs commit what is in flight and go back into the queue.

    Example: winnow gateway stop
    """
    from jobs.dispatch import daemon

    root = root_of(workspace)
    found = daemon.stop(root)
    if as_json:
        print_json({"pid": found["pid"], "stopped": True})
    else:
        typer.echo(f"gateway of {root}: process {found['pid']} has stopped")


@app.command()
def status(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show the gateway, the queue, the progress of running jobs, and the last errors.

    Example: winnow gateway status
    """
    from jobs.dispatch.overview import Overview

    values = Overview(root_of(workspace)).values()
    if as_json:
        print_json(values)
    else:
        _print_status(values)


@app.command("install-service")
def install_service(
    workspace: WorkspaceOption = None,
    max_jobs: MaxJobsOption = 1,
    attempts: AttemptsOption = 3,
    backoff: BackoffOption = 10.0,
    grace: GraceOption = 30.0,
    metrics_port: MetricsOption = None,
    print_only: Annotated[bool, typer.Option("--print", help="Print the file instead of writing it.")] = False,
) -> None:
    """Install the gateway as a service of the user: a systemd unit, or on macOS a launchd property list.

    Example: winnow gateway install-service --workspace /data/winnow
    """
    from jobs.dispatch.systemd import service
    from jobs.storage.workspace import Workspace

    root = Workspace.at(workspace).create().root
    found = service(root, _options(max_jobs, attempts, backoff, grace, metrics_port), grace)
    if print_only:
        typer.echo(found.text, nl=False)
        return
    found.install()
    typer.echo(f"wrote {found.path}; now:")
    for step in found.next_steps:
        typer.echo(f"  {step}")
    if found.variables:
        typer.echo(
            f"variables that its jobs need (AWS_*, RAY_ADDRESS, WINNOW_WEIGHTS, …) are read from {found.variables}:"
        )
        typer.echo("  a line NAME=VALUE each; chmod 600 keeps it to yourself")


@app.command("require-token")
def require_token(workspace: WorkspaceOption = None) -> None:
    """Require the token in $WINNOW_CONTROL_TOKEN of everybody who submits or controls jobs, from now on.

    The workspace keeps a salted hash of it. The token guards commands; file permissions guard the files.

    Example: winnow gateway require-token  # after: export WINNOW_CONTROL_TOKEN=$(openssl rand -hex 16)
    """
    from jobs.dispatch import control_token
    from jobs.storage.workspace import Workspace

    root = Workspace.at(workspace).create().root
    control_token.protect(root)
    typer.echo(f"workspace {root} requires the control token from now on")


@app.command("drop-token")
def drop_token(workspace: WorkspaceOption = None) -> None:
    """Require no token any more; $WINNOW_CONTROL_TOKEN has to be the current one.

    Example: winnow gateway drop-token
    """
    from jobs.dispatch import control_token

    root = root_of(workspace)
    control_token.unprotect(root)
    typer.echo(f"workspace {root} requires no control token")


@app.command(hidden=True)
def execute(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a job that was claimed for this process.")],
    workspace: WorkspaceOption = None,
    gateway_pid: Annotated[
        int | None, typer.Option(help="Process id of the gateway; without it the job is put back.")
    ] = None,
    ray_job: Annotated[str | None, typer.Option(help="Id of the Ray job that runs it.", metavar="ID")] = None,
) -> None:
    """Run a job that was claimed for this process, for a gateway, or one that was handed to a cluster of Ray.

    Example: winnow gateway execute 20261121-020000-nightly
    """
    from jobs.cli.run import execute as run
    from jobs.dispatch.execute_job import execute as run_job
    from jobs.storage.workspace import Workspace

    place = Workspace.at(workspace).require()
    strict: list[bool] = []

    def begin(request: RunRequest, name: str, release: Callable[[RunRecord], dict[str, Any]] | None) -> RunRecord:
        strict.append(request.strict)
        return run(request, True, name, True, release)

    record = run_job(place, job_id, begin, gateway_pid, ray_job)
    if record is not None and strict[0] and record.shortcoming:
        raise typer.Exit(STRICT)


def _print_status(values: dict[str, Any]) -> None:
    from jobs.cli.show import moment, out, print_table
    from jobs.runs.follow import duration

    gateway, queue = values["gateway"], values["queue"]
    if gateway is None:
        out.print("no gateway is running; `winnow gateway start` starts one")
    else:
        since = moment(gateway.get("since_ns", 0))
        out.print(f"gateway: process {gateway.get('pid')} on {gateway.get('host')}, since {since}", soft_wrap=True)
    states = ", ".join(f"{n:,} {state}" for state, n in values["jobs"].items() if n) or "none yet"
    out.print(f"queue: {queue['depth']:,} waiting, {queue['due']:,} of them due; jobs: {states}")
    if values["running"]:
        rows = []
        for job in values["running"]:
            worker = job["worker"]
            health = {True: "alive", False: "dead", None: f"on {worker['host']}"}[worker["alive"]]
            memory = f", {worker['rss_mb']:,.0f} MB" if worker["rss_mb"] else ""
            done = f"{job['done']:,}/{job['total']:,}" if job["total"] else None
            left = None if job["eta_s"] is None else duration(job["eta_s"])
            what = (job["job_id"], job["attempt"], job["stage"], done, job["frames_per_second"] or None, left)
            rows.append((*what, f"{worker['pid']} {health}{memory}", job["asked"]))
        print_table(("running", "attempt", "stage", "frames", "frames/s", "left", "process", "asked"), rows)
    if values["waiting"]:
        columns = ("job_id", "priority", "failures", "error")
        print_table(("waiting", *columns[1:]), [tuple(job[c] for c in columns) for job in values["waiting"]])
    if values["paused"]:
        paused = [(job["job_id"], moment(job["at_ns"]), "yes" if job["begun"] else "no") for job in values["paused"]]
        print_table(("paused", "since", "begun"), paused)
    if values["errors"]:
        print_table(("last errors", ""), [(error["job_id"], error["error"]) for error in values["errors"]])
