"""What was asked of a job, read back from its records or its row, so that it can be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conf import ConfigError, Loaded
from conf.loader import parse
from jobs import selection
from jobs.catalogue import Admission
from jobs.errors import UserError
from jobs.inbox import Inbox
from jobs.run import RunRequest
from jobs.store import Store
from jobs.workspace import Workspace


def from_data(workspace: Workspace, data: Mapping[str, Any]) -> RunRequest:
    """Return the request that `RunRequest.as_data` described. Raises `UserError` for a configuration of before."""
    return RunRequest(
        workspace,
        list(data["inputs"]),
        Loaded(_config(data["config"]), data["profile"]),
        Admission(tuple(data["stream_ids"]), data["rebind"], data["allow_missing"]),
        data["limit"],
        data["ray_address"],
        data["on_error"],
    )


def of_job(workspace: Workspace, job_id: str) -> RunRequest:
    """Return what a job was last asked to run: by its records, or for runs that have none, by their row."""
    for record in reversed(Inbox(workspace.root, job_id).records()):
        if "request" in record.data:
            return from_data(workspace, record.data["request"])
    row = selection.find_run(Store(workspace.root), job_id)
    # Of one stream it is clear which input has its id.
    ids = tuple(row["streams"]) if len(row["streams"]) == len(row["inputs"]) == 1 else ()
    loaded = Loaded(_config(json.loads(row["config"])), row["profile"])
    return RunRequest(workspace, row["inputs"], loaded, Admission(ids))


def _config(values: Mapping[str, Any]) -> Any:
    try:
        return parse(values)
    except ConfigError as error:
        raise UserError([f"the recorded configuration: {problem}" for problem in error.problems]) from error
