"""What a run would do, and why: the plan as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.naming import new_job_id
from jobs.core.stage import Stage, canonical
from jobs.passes.model_plan import ModelPlan
from jobs.passes.model_stages import ModelStages
from jobs.passes.pixel_plan import Listed, PixelPlan, Planner
from jobs.passes.scopes import WORKSPACE
from jobs.passes.table_stages import TableStages
from jobs.runs.prepare import Prepared
from jobs.storage.store import Store
from jobs.vlm.vlm_stage import Escalation

_GONE = "frame is gone, or no longer taken"


@dataclass(frozen=True)
class StageForecast:
    """What a stage would do: frames to compute, frames to look at only, rows to take out, and reasons with counts.

    `rule` chooses its frames, `chosen` ones of `of` that decode; unless what it asks for is not computed yet, which
    `depends_on` names.
    """

    stage: str
    frames: int
    compute: int
    verify: int
    remove: int
    reasons: dict[str, int]
    rule: str | None = None
    chosen: int | None = None
    of: int | None = None
    depends_on: tuple[str, ...] = ()


def forecast(prepared: Prepared) -> list[StageForecast]:
    """Return what each stage of a prepared run would do. Reads tables and listings, writes nothing."""
    listed = [Listed.of(s) for s in prepared.streams]
    reread = prepared.request.overrides.reread
    plan = Planner(prepared.store, prepared.stages, listed, reread=reread).survey()
    changes = _Changes(prepared.store, prepared.stages)
    names = [s.stream_id for s in prepared.streams]
    tables = TableStages(
        prepared.store, prepared.stages, prepared.request.loaded.config, names, job_id=f"dry-{new_job_id()}"
    )
    models = ModelStages(prepared.store, prepared.stages, prepared.request.loaded.config, names, job_id="dry")
    forecasts: dict[str, StageForecast] = {}
    for stage in prepared.stages:
        if stage.kind == "pixels":
            forecasts[stage.name] = _pixels(
                stage, plan, names, changes, "to be read again" if reread else "file changed on disk"
            )
        elif stage.kind == "calls":
            asking = Escalation(prepared.store, prepared.stages, prepared.request.loaded.config, names, job_id="dry")
            wanted, unasked = asking.survey()
            why = next((reason for name in names if (reason := changes.reason(stage, name))), "new")
            forecasts[stage.name] = StageForecast(stage.name, wanted, unasked, 0, 0, {why: unasked} if unasked else {})
        elif stage.kind == "model":
            above = sum(forecasts[s.name].compute for s in stage.upstream if s.kind == "model")
            found = _model(stage, models.planner(stage).survey(), plan, names, changes, above)
            forecasts[stage.name] = replace(found, depends_on=_awaited(stage, forecasts)) if stage.rule else found
        else:
            forecasts[stage.name] = _table(stage, prepared, tables, forecasts, changes, plan)
    return list(forecasts.values())


def _pixels(stage: Stage, plan: PixelPlan, names: list[str], changes: _Changes, doubt: str) -> StageForecast:
    reasons: dict[str, int] = {}
    total = plan.stage_total(stage.name)
    for name in names:
        counts = plan.of(stage.name, name)
        _add(reasons, changes.reason(stage, name) or "new", counts.missing)
        _add(reasons, "content changed", counts.outdated)
        which = f"{doubt}, or the frame before is another" if stage.table is schemas.MOTION else doubt
        _add(reasons, f"{which}: its bytes will tell", counts.unread)
        _add(reasons, _GONE, counts.gone)
    return StageForecast(stage.name, total.n_frames, total.missing + total.outdated, total.unread, total.gone, reasons)


def _model(
    stage: Stage, seen: ModelPlan, pixels: PixelPlan, names: list[str], changes: _Changes, above: int
) -> StageForecast:
    """`above` is for how many frames the model stages that it builds on have something to compute."""
    reasons: dict[str, int] = {}
    if above:
        upstream = ", ".join(s.name for s in stage.upstream if s.kind == "model")
        _add(reasons, f"upstream changed: {upstream}, as far as that finds something", above)
        _add(reasons, _GONE, seen.n_gone)
        return StageForecast(stage.name, max(seen.wanted, above), above, 0, seen.n_gone, reasons)
    why = next((reason for name in names if (reason := changes.reason(stage, name))), "new")
    unmeasured = pixels.stage_total("frames").missing
    _add(reasons, why, seen.missing)
    _add(reasons, "content changed", seen.outdated)
    _add(reasons, "new, if they decode and are wanted", unmeasured)
    _add(reasons, _GONE, seen.n_gone)
    found = StageForecast(stage.name, seen.wanted + unmeasured, seen.open + unmeasured, 0, seen.n_gone, reasons)
    return replace(found, rule=stage.rule.sql, chosen=seen.wanted, of=seen.frames) if stage.rule else found


def _awaited(stage: Stage, forecasts: Mapping[str, StageForecast]) -> tuple[str, ...]:
    """Return the stages that a rule asks and that have something to do before they can answer."""
    assert stage.rule is not None
    above = [forecasts[name] for name in sorted(stage.rule.stages)]
    return tuple(f.stage for f in above if f.compute or f.verify or f.remove)


def _table(
    stage: Stage,
    prepared: Prepared,
    tables: TableStages,
    forecasts: Mapping[str, StageForecast],
    changes: _Changes,
    plan: PixelPlan,
) -> StageForecast:
    frames = {s.stream_id: s.n_frames for s in prepared.streams}
    reasons: dict[str, int] = {}
    compute = verify = 0
    if stage.name == "duplicates" and (fresh := _ungrouped(stage, prepared, frames, plan)):
        # Groups that stand stay as they are: only frames that are in none are looked at.
        return StageForecast(stage.name, sum(frames.values()), sum(fresh.values()), 0, 0, fresh)
    for state in tables.states(stage):
        # Streams of other runs are looked after as well, but the forecast is of this run's frames.
        for name in frames if state.scope == WORKSPACE else [state.scope] if state.scope in frames else []:
            moved = [s.name for s in stage.upstream if _moves(s, name, plan, forecasts)]
            may_move = [s.name for s in stage.upstream if s.kind == "pixels" and plan.of(s.name, name).unread]
            if state.done and not moved:
                verify += frames[name] if may_move else 0
                _add(reasons, f"upstream may change: {', '.join(may_move)}", frames[name] if may_move else 0)
                continue
            why = changes.reason(stage, name) or (
                f"upstream changed: {', '.join(moved)}" if moved and changes.shows(stage, name) else "new"
            )
            compute += frames[name]
            _add(reasons, why, frames[name])
    if stage.name == "duplicates" and verify:
        # Frames that do not decode are in no group.
        verify = min(verify, prepared.store.open(stage.table).count(stage.key, frozenset(frames)))
    return StageForecast(stage.name, sum(frames.values()), compute, verify, 0, reasons)


def _ungrouped(stage: Stage, prepared: Prepared, frames: Mapping[str, int], plan: PixelPlan) -> dict[str, int]:
    """Return why frames are to be put into groups that stand, with counts; nothing where there are no such groups.

    Where frames of groups are gone, the rest of these is grouped anew as well, and nobody knows yet how many they are.
    """
    hashes = stage.upstream[0]
    config = prepared.request.loaded.config.duplicates
    streams = frozenset(frames)
    counts = plan.stage_total(hashes.name)
    if config.rebuild or config.uses == "vector" or counts.gone:
        return {}
    grouped = prepared.store.open(stage.table).count(stage.key, streams)
    if not grouped:
        return {}
    waiting = prepared.store.open(hashes.table).count(hashes.key, streams, "phash") - grouped
    reasons: dict[str, int] = {}
    _add(reasons, "new", counts.missing + max(0, waiting))
    _add(reasons, "content changed", counts.outdated)
    return reasons


def _moves(stage: Stage, stream_id: str, plan: PixelPlan, forecasts: Mapping[str, StageForecast]) -> bool:
    """Say whether rows of an upstream stage will change for a stream."""
    if stage.kind == "table":
        return bool(forecasts[stage.name].compute)
    if stage.kind == "model":
        return bool(forecasts[stage.name].compute)
    counts = plan.of(stage.name, stream_id)
    return bool(counts.missing or counts.outdated or counts.gone)


def _add(reasons: dict[str, int], reason: str, count: int) -> None:
    if count:
        reasons[reason] = reasons.get(reason, 0) + count


class _Changes:
    """Tells how a stage's configuration differs from the one that a stream's head shows."""

    def __init__(self, store: Store, stages: tuple[Stage, ...]) -> None:
        heads = store.read(schemas.HEADS).to_pylist()
        self._heads = {(r["stream_id"], r["stage"]): r["stage_key"] for r in heads}
        keys = sorted({*self._heads.values()})
        runs = store.read(schemas.STAGE_RUNS)
        found = (
            runs.filter(pc.is_in(runs["stage_key"], value_set=pa.array(keys, pa.string())))
            if keys
            else runs.slice(0, 0)
        )
        self._described: dict[str, dict[str, Any]] = {r["stage_key"]: r for r in found.to_pylist()}
        self._upstream = {s.name: s.upstream for s in stages}

    def shows(self, stage: Stage, stream_id: str) -> bool:
        """Say whether an earlier run has finished the stage for a stream."""
        return (stream_id, stage.name) in self._heads

    def reason(self, stage: Stage, stream_id: str) -> str | None:
        """Return why the stream's rows for the stage do not serve, or None if the configuration is the same or new."""
        shown = self._heads.get((stream_id, stage.name))
        if shown is None or shown == stage.key:
            return None
        then = self._described.get(shown)
        if then is None:
            return "configuration changed"
        was, now = json.loads(then["params"]), canonical(stage.params)
        changed = sorted(n for n in {*was, *now} if was.get(n) != now.get(n))
        if changed:
            return f"params changed: {', '.join(changed)}"
        if then["code_hash"] != stage.code_hash:
            return "code changed"
        above = json.loads(then["upstream"])
        differing = [s.name for s in stage.upstream if above.get(s.name) != s.key]
        differing += sorted(set(above) - {s.name for s in stage.upstream})
        return f"upstream changed: {', '.join(differing)}" if differing else "configuration changed"
