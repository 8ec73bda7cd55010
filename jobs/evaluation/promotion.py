"""What may become champion: the evidence for a version, clause by clause, and its promotion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import schemas
from jobs.core.errors import NotPromotedError, UserError
from jobs.core.naming import many
from jobs.models import registry
from jobs.models.registry import ModelVersion
from jobs.storage.store import Store
from jobs.training.options import VAL

CHAMPION = "champion"
"""The alias that needs evidence; others are free."""

_MANY_OBJECTS, _MOST_LOST = 50, 0.03
_COPYLEFT, _UNKNOWN = ("AGPL", "GPL"), {"", "not stated"}


@dataclass(frozen=True)
class Clause:
    """One thing that a promotion needs, whether it holds, and what it rests on."""

    name: str
    holds: bool
    text: str


@dataclass(frozen=True)
class Evidence:
    """What speaks for a version and against it, and the evaluation that says so; None for none."""

    clauses: tuple[Clause, ...]
    evaluation_id: str | None

    @property
    def holds(self) -> bool:
        """Return whether all clauses hold."""
        return all(clause.holds for clause in self.clauses)

    @property
    def against(self) -> list[str]:
        """Return what speaks against it."""
        return [clause.text for clause in self.clauses if not clause.holds]


def promote(
    store: Store,
    reference: str,
    alias: str = CHAMPION,
    *,
    by: str,
    reason: str | None = None,
    expect: int | None = None,
    force: str | None = None,
) -> dict[str, Any]:
    """Have an alias refer to a version by its number, and return the row of that change.

    `force`: why to make it champion although evidence is missing or against it, which stays with the change. Raises
    `NotPromotedError` with what is missing or against it, `UserError` for what is not there, and `JobStateError`
    where the alias is another version than expected by now.
    """
    version = registry.find(store, reference)
    if not reference.rpartition("@")[2].isdecimal():
        raise UserError(f"{reference}: expected a version by its number, as in {version.reference}")
    if not version.folder.exists():
        raise UserError(f"{reference}: its weights are missing from {version.folder}; bring them back")
    if force is not None and not force.strip():
        raise UserError("--force: expected a reason, which stays with the change")
    evidence = evidence_for(store, version) if alias == CHAMPION else Evidence((), None)
    if not evidence.holds and force is None:
        raise NotPromotedError(
            [
                *(f"{version.reference}: {line}" for line in evidence.against),
                "measure it, or promote it all the same with --force REASON",
            ]
        )
    now = registry.current(store, version.name, alias)
    return registry.set_alias(
        store,
        version.name,
        version.version,
        alias,
        by=by,
        reason=force or reason,
        # The evidence is against the champion that there is now.
        expect=now if expect is None else expect,
        is_forced=not evidence.holds,
        evaluation_id=evidence.evaluation_id,
    )


def evidence_for(store: Store, version: ModelVersion, against: ModelVersion | None = None) -> Evidence:
    """Return what speaks for a version and against it, next to `against`, or else the champion that there is now.

    The default rule: measured on frames that it has not seen; AP better than the champion's on the same frames by a
    paired bootstrap (mean above 0, 5 % bound above -0.005); no category of 50 objects or more that loses more than 0.03
    at its 5 % bound; the same boxes from its ONNX file, where there is one; a licence that is stated, and no copyleft
    where the champion has none.
    """
    # Its best epoch was chosen by the frames of `val`, so that figures on these flatter it.
    mine = [
        row
        for row in store.read(schemas.EVALUATIONS).to_pylist()
        if row["model_id"] == version.model_id and row["split"] != VAL
    ]
    mine.sort(key=lambda row: row["created_ns"])
    champion = 0 if against else registry.current(store, version.name, CHAMPION)
    before = registry.find(store, f"{version.name}@{champion}") if champion else against
    on = f"winnow evaluate model {version.reference} --on release:{version.row['release'] or 'NAME'}/test"
    if not mine:
        other = f" --against {against.reference if against else f'@{CHAMPION}'}" if before else ""
        missing = Clause("measured", False, f"it was never measured on frames that it has not seen: {on}{other}")
        return Evidence((missing, *_others(store, version, before)), None)
    last = mine[-1]
    measured = Clause(
        "measured", True, f"AP {_figure(last['ap'])} on {many(last['frames'], 'frame')} of {last['release']}"
    )
    if before is None or before.model_id == version.model_id:
        return Evidence((measured, *_others(store, version, before)), last["evaluation_id"])
    ids = {row["evaluation_id"] for row in mine}
    theirs = {
        row["evaluation_id"]
        for row in store.read(schemas.EVALUATIONS, ("evaluation_id", "model_id")).to_pylist()
        if row["model_id"] == before.model_id
    }
    compared = [
        row
        for row in store.read(schemas.COMPARISONS).to_pylist()
        if row["evaluation_id"] in ids and row["against_id"] in theirs
    ]
    if not compared:
        other = against.reference if against else f"@{CHAMPION}"
        rank = "" if against else ", the champion"
        text = f"it was never compared with {before.reference}{rank}: {on} --against {other}"
        return Evidence((measured, Clause("compared", False, text), *_others(store, version, before)), None)
    found = max(compared, key=lambda row: row["created_ns"])
    clauses = (measured, *_of_comparison(found, before), *_others(store, version, before))
    return Evidence(clauses, found["evaluation_id"])


def _of_comparison(found: Mapping[str, Any], champion: ModelVersion) -> Iterator[Clause]:
    bounds = f"{_figure(found['difference'])} ({_figure(found['low'])} to {_figure(found['high'])})"
    texts = {
        "better": f"AP differs from {champion.reference} by {bounds}",
        "not_better": f"AP differs from {champion.reference} by {bounds}: not better for sure",
        "worse": f"AP differs from {champion.reference} by {bounds}: worse",
        "cannot_tell": f"cannot tell whether it is better than {champion.reference}: the frames are of "
        f"{found['units']} streams or scenes, expected 8 or more",
    }
    yield Clause("better", found["verdict"] == "better", texts[found["verdict"]])
    lost = [
        f"{name} ({_figure(each['low'])} at its 5 % bound)"
        for name, each in json.loads(found["classes"]).items()
        if each["objects"] >= _MANY_OBJECTS and each["low"] is not None and each["low"] < -_MOST_LOST
    ]
    n = sum(each["objects"] >= _MANY_OBJECTS for each in json.loads(found["classes"]).values())
    kept = (
        f"none of {many(n, 'category')} with {_MANY_OBJECTS} objects or more may lose over {_MOST_LOST}"
        if n
        else f"no category has {_MANY_OBJECTS} objects, by which a loss of over {_MOST_LOST} would be known"
    )
    yield Clause("categories", not lost, f"categories may lose over {_MOST_LOST}: {', '.join(lost)}" if lost else kept)


def _others(store: Store, version: ModelVersion, champion: ModelVersion | None) -> Iterator[Clause]:
    made = [row for row in store.read(schemas.MODEL_EXPORTS).to_pylist() if row["model_id"] == version.model_id]
    if any(row["file"] for row in made):
        lost = [problem for row in made if (problem := registry.export_problem(store, version, row))]
        yield Clause("onnx", not lost, f"{lost[0]}; bring it back" if lost else "its ONNX file finds the same")
    else:
        yield Clause("onnx", True, "it has no ONNX file; torch runs it")
    rows = store.read(schemas.MODELS, ("model_id", "licence")).to_pylist()
    licences = {row["model_id"]: row["licence"] for row in rows}
    mine = str(licences.get(version.model_id) or "")
    theirs = str(licences.get(champion.model_id) or "") if champion else mine
    if mine.strip() in _UNKNOWN:
        yield Clause("licence", False, "its licence is not stated")
    elif mine.startswith(_COPYLEFT) and not theirs.startswith(_COPYLEFT):
        yield Clause(
            "licence", False, f"it is under {mine}, which obliges more than {theirs or 'that'} of the champion"
        )
    else:
        yield Clause("licence", True, f"under {mine}")


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
