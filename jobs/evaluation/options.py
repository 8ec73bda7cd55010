"""Options of an evaluation, as commands, records of jobs and servers have them: the names are a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from jobs.core.errors import UserError
from jobs.core.naming import wrong_with
from jobs.models import registry
from jobs.storage.store import Store

EVALUATIONS = "evaluation"
"""The folder of a workspace in which sealed frames are for as long as an evaluation takes."""

_PREFIX = "release:"
_Reference = Annotated[str, Field(min_length=1, max_length=400)]


@dataclass(frozen=True)
class Measured:
    """The frames that models are measured on: a release, or one of its splits."""

    release: str
    split: str

    def __str__(self) -> str:
        return f"{_PREFIX}{self.release}{'/' if self.split else ''}{self.split}"


class EvaluateOptions(BaseModel):
    """Which model to measure, on which frames, and which one to compare it with.

    `model`, `against`: `NAME@VERSION` or `NAME@ALIAS`, `against` also `@ALIAS` of the same name. `on`:
    `release:NAME/SPLIT`, or `release:NAME` for all of its frames. `by`: who requests it, for the record of each use of
    sealed frames. `fresh`: measure again what was measured before on the same frames.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: _Reference
    on: _Reference
    against: _Reference | None = None
    by: Annotated[str, Field(max_length=400)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    fresh: bool = False

    def measured(self) -> Measured:
        """Return the frames. Raises `UserError` for a place that is none."""
        return measured(self.on)

    def resolved(self, store: Store) -> EvaluateOptions:
        """Return these options with versions in place of aliases, which may change while a job waits.

        Raises `UserError` with all that are not there.
        """
        problems: list[str] = []
        found: dict[str, registry.ModelVersion] = {}
        against = self.against
        if against and against.startswith("@"):
            against = self.model.removeprefix(registry.PREFIX).partition("@")[0] + against
        for field, reference in (("model", self.model), ("against", against)):
            if reference is None:
                continue
            try:
                found[field] = registry.find(store, reference)
                if not found[field].folder.exists():
                    problems.append(f"{reference}: its weights are missing from {found[field].folder}; bring them back")
            except UserError as error:
                problems += error.problems
        try:
            self.measured()
        except UserError as error:
            problems += error.problems
        if not problems and against and found["model"].model_id == found["against"].model_id:
            problems.append(f"{self.model} and {against} are the same weights; there is nothing to compare")
        if problems:
            raise UserError(problems)
        return self.model_copy(update={field: version.reference for field, version in found.items()})


def measured(named: str) -> Measured:
    """Return the frames that `release:NAME/SPLIT` names. Raises `UserError`."""
    release, slash, split = named.removeprefix(_PREFIX).partition("/")
    if wrong_with("release", release) or (slash and not split.isidentifier()):
        raise UserError(f"--on {named}: expected release:NAME/SPLIT, as in release:yard-3/test, or release:NAME")
    return Measured(release, split)
