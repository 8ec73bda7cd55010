"""What a scheduled job does with its release: choose frames of it, and export them. Imports little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isclose
from typing import TYPE_CHECKING, Any, get_args

from jobs.core.choices import ExportFormat
from jobs.core.errors import UserError
from jobs.datasets.split_fractions import fractions_of
from jobs.storage import paths
from transforms.curate.strategy import STRATEGIES, Strategy

if TYPE_CHECKING:
    from jobs.storage.workspace import Workspace


@dataclass(frozen=True)
class FollowUp:
    """What is done after each release of a schedule.

    `select`: how many of its kept frames are chosen by `strategy`, none of them chosen for an earlier release of the
    schedule; the selection has the release's name. `export`: the format in which these, or all kept frames, are written
    to a folder below `out` that has the release's name, divided as `split` says. None for what is not done.
    """

    select: int | None = None
    strategy: Strategy = "diverse"
    export: ExportFormat | None = None
    out: str | None = None
    split: str | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> FollowUp:
        """Return what plain values say. Raises `UserError` for what another version wrote."""
        try:
            return cls(**values)
        except TypeError as error:
            raise UserError(f"what follows a release: {error}") from error

    def values(self) -> dict[str, Any]:
        """Return it as plain values, empty if nothing is done."""
        return asdict(self) if self.select is not None or self.export is not None else {}

    def problems(self) -> list[str]:
        """Return what is wrong with it, a line each."""
        found = []
        if self.select is not None and (type(self.select) is not int or self.select < 1):
            found.append(f"--select {self.select}: expected at least 1 frame")
        if self.strategy not in STRATEGIES:
            found.append(f"--strategy {self.strategy}: expected one of {', '.join(STRATEGIES)}")
        if self.export is not None and self.export not in get_args(ExportFormat):
            found.append(f"--export {self.export}: expected one of {', '.join(get_args(ExportFormat))}")
        if self.export is not None and not self.out:
            found.append("--export: expected --out FOLDER with it, below which each release gets a folder")
        if self.export is None and (self.out or self.split):
            found.append("--out and --split: expected --export FORMAT with them")
        if self.split:
            try:
                shares = sum(fractions_of(self.split).values())
            except UserError as error:
                found += error.problems
            else:
                if not isclose(shares, 1.0, abs_tol=1e-6):
                    found.append(f"--split {self.split}: expected fractions that add up to 1, found {shares:g}")
        return found

    def carry_out(self, workspace: Workspace, release: str, earlier: Sequence[str]) -> dict[str, Any]:
        """Choose and export from a release, and return what was done, for the journal.

        `earlier` are the schedule's releases before. Doing it once more gives the same files. Raises `UserError` where
        something else is at the export's place.
        """
        done: dict[str, Any] = {}
        if self.select is not None:
            done["selected"] = self._choose(workspace, release, earlier)
        if self.export is not None and done.get("selected") != 0:
            done["exported"] = self._export(workspace, release)
        return done

    def _choose(self, workspace: Workspace, release: str, earlier: Sequence[str]) -> int:
        from jobs.datasets.frame_sampling import SelectRequest, select, selections

        known = {row["selection"] for row in selections(workspace)}
        after = tuple(name for name in earlier if name in known)
        request = SelectRequest(
            release, self.strategy, self.select, after=tuple(f"{n}:{n}" for n in after), release=release
        )
        return int(select(workspace, request)["chosen"])

    def _export(self, workspace: Workspace, release: str) -> dict[str, Any]:
        from jobs.datasets.export import ExportRequest, export

        assert self.export is not None
        assert self.out is not None
        place = paths.absolute(self.out) / release
        chosen = release if self.select is not None else None
        split = fractions_of(self.split)
        manifest = export(workspace, ExportRequest(self.export, place, release=release, selection=chosen, split=split))
        return {"to": str(place), "frames": sum(manifest["frames"].values())}


NOTHING = FollowUp()
"""Nothing follows a release."""
