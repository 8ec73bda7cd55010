"""`winnow submit`: jobs for the queue or for a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli.options import DryRunOption, JsonOption, WorkspaceOption
from jobs.cli.run_parameters import takes_run_options
from jobs.core.choices import SubmitTo

if TYPE_CHECKING:
    from jobs.runs.run_options import RunOptions


@takes_run_options()
def submit(
    options: RunOptions,
    workspace: WorkspaceOption = None,
    dry_run: DryRunOption = False,
    priority: Annotated[int, typer.Option(help="Jobs with a higher priority run first.")] = 0,
    to: Annotated[
        SubmitTo,
        typer.Option("--to", help="Who runs it: a gateway, or the Ray cluster whose dashboard is --ray-address."),
    ] = "queue",
    packages: Annotated[
        list[str] | None,
        typer.Option("--pip", help="Package that Ray installs for the job. Repeat for several.", metavar="REQUIREMENT"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a run to the workspace's queue and print its id; `winnow gateway` runs it, now or when one is started.

    What cannot be run is refused at once. The configuration is kept as it is now; inputs are listed when the run
    starts. A strict job with bad frames ends as done, and `winnow gateway status` lists it among the last errors.

    With --to ray the job is handed to a cluster through Ray Jobs, and this program with it; its machines need the
    packages that Winnow needs, or --pip, and the workspace and the inputs under the same names as here. Without
    --ray-address the dashboard is that of $RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265.

    Example: winnow submit --input /data/cam1 --priority 5
    """
    from jobs.cli.json_output import print_job_id
    from jobs.cli.run import print_destinations, print_forecast
    from jobs.core.errors import UserError
    from jobs.dispatch.submit import submit as add
    from jobs.runs.run_options import build_request

    request = build_request(workspace, options)
    print_destinations(request)
    if dry_run:
        print_forecast(request, as_json)
        return
    if to == "ray":
        from jobs.dispatch import ray_jobs

        job_id = ray_jobs.submit(workspace, options, ray_jobs.dashboard(options.ray_address), packages or (), priority)
    elif packages:
        raise UserError("--pip: only what is handed over with --to ray has packages installed for it")
    else:
        job_id = add(workspace, options, priority)
    print_job_id(job_id, as_json)
