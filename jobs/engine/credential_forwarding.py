"""Forwarding of object store credentials to worker processes on other machines of a cluster.

They are sent with the work, as arguments of calls, and not in the job's runtime environment, which Ray shows on its
dashboard, returns by its API and writes into its logs. They are put into the environment of the worker process only,
which works for one job and ends with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa

from jobs.engine.local_pool import Transform
from jobs.storage.paths import place
from transforms.io import object_store
from transforms.io.credentials import VARIABLES, AccessError, options


class ForwardedCredentials:
    """Environment variables with object store credentials to forward. Its repr does not show their values."""

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    def __repr__(self) -> str:
        return f"ForwardedCredentials({', '.join(sorted(self._variables))})"

    def __reduce__(self) -> tuple[type[ForwardedCredentials], tuple[Mapping[str, str]]]:
        return ForwardedCredentials, (self._variables,)

    def take(self) -> None:
        """Set these variables in this process, replacing its own.

        Forwarded keys replace those of this machine; without forwarded keys, its own are used.
        """
        keys = {*VARIABLES["access_key_id"], *VARIABLES["secret_access_key"], *VARIABLES["session_token"]}
        own = {name for names in VARIABLES.values() for name in names} | {"AWS_PROFILE", "AWS_SKIP_SIGNATURE"}
        if not self._variables.keys() & {*keys, "AWS_SKIP_SIGNATURE"}:
            own -= {*keys, "AWS_PROFILE", "AWS_SKIP_SIGNATURE"}
        for name in own - self._variables.keys():
            os.environ.pop(name, None)
        os.environ.update(self._variables)


def forwarded_credentials(places: Iterable[object]) -> ForwardedCredentials | None:
    """Return this process's object store settings to forward, if one of the places is in a bucket.

    These are region, endpoint, and the keys from the environment or a profile. Temporary credentials of cloud machines
    or web identities belong to one machine and expire within hours; they are not forwarded, so that every machine needs
    its own.
    """
    if not any(place(str(at)).is_remote for at in places):
        return None
    try:
        found = options()
    except AccessError:
        return None
    variables = {VARIABLES[name][0]: value for name, value in found.items() if name in VARIABLES}
    if "skip_signature" in found:
        variables["AWS_SKIP_SIGNATURE"] = "true"
    if object_store.RETRIES in os.environ:
        variables[object_store.RETRIES] = os.environ[object_store.RETRIES]
    return ForwardedCredentials(variables)


def with_credentials(credentials: ForwardedCredentials | None, transforms: Iterable[Transform]) -> list[Transform]:
    """Return transforms that set the forwarded credentials before they run."""
    if credentials is None:
        return list(transforms)
    return [
        (transform_with, {"credentials": credentials, "function": function, "arguments": arguments})
        for function, arguments in transforms
    ]


def transform_with(
    block: pa.Table, credentials: ForwardedCredentials, function: Callable[..., pa.Table], arguments: Mapping[str, Any]
) -> pa.Table:
    """Call a function with forwarded credentials."""
    credentials.take()
    return function(block, **arguments)


class WorkerWithCredentials:
    """A worker that is created, and runs, with forwarded credentials."""

    def __init__(self, credentials: ForwardedCredentials, worker: Callable[..., Any], *arguments: Any) -> None:
        credentials.take()
        self._worker = worker(*arguments)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the worker's result for a block."""
        result: pa.Table = self._worker(block)
        return result
