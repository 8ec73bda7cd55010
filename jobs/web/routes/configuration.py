"""The configuration as a form: what can be set, of a profile or of a run."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from conf import ConfigError, load
from conf.loader import DEFAULT_PROFILE
from jobs.core.errors import UserError
from jobs.runs.run_option_help import RUN_OPTION_HELP
from jobs.web.routes.jobs import require_job, workspace_of
from jobs.web.setting_forms import form

router = APIRouter(prefix="/projects/{project}", tags=["jobs"])


@router.get("/configuration", name="get_configuration")
def get_configuration(
    project: str,
    request: Request,
    profile: Annotated[str, Query(min_length=1, max_length=200)] = DEFAULT_PROFILE,
    run: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> Any:
    """Return sections and settings with their types, bounds and explanations, and the values of a profile or a run.

    `options` explains the options of a run that are no settings.
    """
    workspace = workspace_of(request, project)
    if run is not None:
        from jobs.runs.replay import of_job

        require_job(workspace, run)
        loaded = of_job(workspace, run).loaded
    else:
        try:
            loaded = load(profile)
        except ConfigError as error:
            raise UserError(error.problems) from error
    return {"profile": loaded.profile, "run": run, "options": dict(RUN_OPTION_HELP), **form(loaded.config)}
