"""Credentials of whoever runs a job, for processes on other machines of a cluster, which may have none or others.

They travel with the work, as arguments of what is called there, and not in the runtime environment of the job, which
Ray shows on its dashboard, hands out by its API and writes into its logs. They are put into the environment of the
worker's process and nowhere else; such a process works for one job, and ends with it.
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


class Lent:
    """The variables under which a process uses the object store as another one does. Shows none of their values."""

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)

    def __repr__(self) -> str:
        return f"Lent({', '.join(sorted(self._variables))})"

    def __reduce__(self) -> tuple[type[Lent], tuple[Mapping[str, str]]]:
        return Lent, (self._variables,)

    def take(self) -> None:
        """Let this process use the store in that way, whatever its environment said before.

        Where keys are lent, those of this machine do not count; where none are, it uses what it has.
        """
        keys = {*VARIABLES["access_key_id"], *VARIABLES["secret_access_key"], *VARIABLES["session_token"]}
        own = {name for names in VARIABLES.values() for name in names} | {"AWS_PROFILE", "AWS_SKIP_SIGNATURE"}
        if not self._variables.keys() & {*keys, "AWS_SKIP_SIGNATURE"}:
            own -= {*keys, "AWS_PROFILE", "AWS_SKIP_SIGNATURE"}
        for name in own - self._variables.keys():
            os.environ.pop(name, None)
        os.environ.update(self._variables)


def lend(places: Iterable[object]) -> Lent | None:
    """Return what this process uses an object store with, if one of these places is in a bucket.

    That are region, endpoint and the keys of the environment or of a profile. What a machine of the cloud or a web
    identity is given is its own, and changes by the hour; it is not lent, so that every machine needs its own.
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
    return Lent(variables)


def lent_transforms(lent: Lent | None, transforms: Iterable[Transform]) -> list[Transform]:
    """Return transforms that take what is lent before they begin."""
    if lent is None:
        return list(transforms)
    return [
        (transform_with, {"lent": lent, "function": function, "arguments": arguments})
        for function, arguments in transforms
    ]


def transform_with(
    block: pa.Table, lent: Lent, function: Callable[..., pa.Table], arguments: Mapping[str, Any]
) -> pa.Table:
    """Call a function with what is lent."""
    lent.take()
    return function(block, **arguments)


class LentWorker:
    """A worker that is made, and works, with what is lent."""

    def __init__(self, lent: Lent, worker: Callable[..., Any], *arguments: Any) -> None:
        lent.take()
        self._worker = worker(*arguments)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return what the worker makes of a block."""
        result: pa.Table = self._worker(block)
        return result
