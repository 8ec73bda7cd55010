"""Forecast of a run: what each stage would do, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from conf.rules import Rule
from jobs.core.naming import new_job_id
from jobs.core.stage import Stage, canonical
from jobs.passes.pixel_plan import Listed
from jobs.passes.run_context import RunContext, Survey
from jobs.passes.runners import Runners
from jobs.runs.prepare import Prepared
from jobs.storage.store import Store
from transforms.core.table_stage import WORKSPACE

_GONE = "frame is missing, or no longer taken"


@dataclass(frozen=True)
class StageForecast:
    """What a stage would do: frames to compute, frames to read only, rows to delete, and reasons with counts.

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
    request = prepared.request
    context = RunContext(
        prepared.store,
        prepared.stages,
        request.loaded.config,
        [s.stream_id for s in prepared.streams],
        f"dry-{new_job_id()}",
        [Listed.of(s, prepared.within.get(s.stream_id)) for s in prepared.streams],
        reread=request.overrides.reread,
    )
    return _Forecaster(prepared, context).forecasts()


class _Forecaster:
    """What the stages of one run would do, each after those that it reads."""

    def __init__(self, prepared: Prepared, context: RunContext) -> None:
        self._context = context
        self._runners = Runners(context)
        self._changes = _Changes(context.store, prepared.stages)
        self._frames = {s.stream_id: s.n_frames for s in prepared.streams}
        self._surveys: dict[str, Survey] = {}
        self._found: dict[str, StageForecast] = {}

    def forecasts(self) -> list[StageForecast]:
        of_kind = {"pixels": self._pixels, "model": self._model, "table": self._table, "calls": self._calls}
        for stage in self._context.stages:
            self._surveys[stage.name] = self._runners.of(stage).survey(stage)
            self._found[stage.name] = of_kind[stage.kind](stage, self._surveys[stage.name])
        return list(self._found.values())

    def _pixels(self, stage: Stage, survey: Survey) -> StageForecast:
        reasons: dict[str, int] = {}
        doubt = "to be read again" if self._context.reread else "file changed on disk"
        which = f"{doubt}, or the frame before is another" if stage.spec.of_pairs else doubt
        for name, counts in survey.streams.items():
            _add(reasons, self._changes.reason(stage, name) or "new", counts.missing)
            _add(reasons, "content changed", counts.outdated)
            _add(reasons, f"{which}: its bytes will tell", counts.unread)
            _add(reasons, _GONE, counts.gone)
        return StageForecast(stage.name, survey.wanted, survey.open, survey.unread, survey.gone, reasons)

    def _calls(self, stage: Stage, survey: Survey) -> StageForecast:
        reasons: dict[str, int] = {}
        _add(reasons, self._why(stage), survey.missing)
        return StageForecast(stage.name, survey.wanted, survey.missing, 0, 0, reasons)

    def _model(self, stage: Stage, survey: Survey) -> StageForecast:
        # For how many frames the model stages that it builds on have something to compute.
        models = [s.name for s in stage.upstream if s.kind == "model"]
        above = sum(self._found[name].compute for name in models)
        reasons: dict[str, int] = {}
        if above:
            _add(reasons, f"upstream changed: {', '.join(models)}, as far as that finds something", above)
            _add(reasons, _GONE, survey.gone)
            found = StageForecast(stage.name, max(survey.wanted, above), above, 0, survey.gone, reasons)
        else:
            unmeasured = self._surveys[schemas.FRAMES.written_by].missing
            _add(reasons, self._why(stage), survey.missing)
            _add(reasons, "content changed", survey.outdated)
            _add(reasons, "new, if they decode and are wanted", unmeasured)
            _add(reasons, _GONE, survey.gone)
            wanted, compute = survey.wanted + unmeasured, survey.open + unmeasured
            found = StageForecast(stage.name, wanted, compute, 0, survey.gone, reasons)
            if stage.rule:
                found = replace(found, rule=stage.rule.sql, chosen=survey.wanted, of=survey.frames)
        return replace(found, depends_on=self._awaited(stage.rule)) if stage.rule else found

    def _awaited(self, rule: Rule) -> tuple[str, ...]:
        """Return the stages that a rule asks and that have something to do before they can answer."""
        above = [self._found[name] for name in sorted(rule.stages)]
        return tuple(f.stage for f in above if f.compute or f.verify or f.remove)

    def _why(self, stage: Stage) -> str:
        """Return why a stage has no rows of frames that are there."""
        names = self._context.streams
        return next((reason for name in names if (reason := self._changes.reason(stage, name))), "new")

    def _table(self, stage: Stage, survey: Survey) -> StageForecast:
        frames, reasons = self._frames, dict[str, int]()
        incremental = stage.spec.work is not None and stage.spec.work.incremental
        if incremental and (fresh := self._ungrouped(stage)):
            # Rows that stand stay as they are: only frames that are in none are computed.
            return StageForecast(stage.name, sum(frames.values()), sum(fresh.values()), 0, 0, fresh)
        compute = verify = 0
        for state in survey.scopes:
            # Streams of other runs are looked after as well, but the forecast is of this run's frames.
            for name in frames if state.scope == WORKSPACE else [state.scope] if state.scope in frames else []:
                moved = [s.name for s in stage.upstream if self._moves(s, name)]
                pixels = [s.name for s in stage.upstream if s.kind == "pixels"]
                may_move = [above for above in pixels if self._surveys[above].streams[name].unread]
                if state.done and not moved:
                    verify += frames[name] if may_move else 0
                    _add(reasons, f"upstream may change: {', '.join(may_move)}", frames[name] if may_move else 0)
                    continue
                why = self._changes.reason(stage, name) or (
                    f"upstream changed: {', '.join(moved)}" if moved and self._changes.shows(stage, name) else "new"
                )
                compute += frames[name]
                _add(reasons, why, frames[name])
        if incremental and verify:
            # Frames that do not decode have no row.
            verify = min(verify, self._context.store.open(stage.table).count(stage.key, frozenset(frames)))
        return StageForecast(stage.name, sum(frames.values()), compute, verify, 0, reasons)

    def _ungrouped(self, stage: Stage) -> dict[str, int]:
        """Return why frames are to be added to rows that stand, with counts; nothing where there are no such rows.

        Where frames of groups are missing, the rest of these is regrouped as well; how many they are is not known yet.
        """
        store, streams = self._context.store, frozenset(self._frames)
        above, column = self._runners.tables.counted_by(stage)
        survey = self._surveys[above.name]
        rebuilds = stage.spec.work is not None and stage.spec.work.rebuilds(self._context.config)
        if rebuilds or above.kind != "pixels" or survey.gone:
            return {}
        grouped = store.open(stage.table).count(stage.key, streams)
        if not grouped:
            return {}
        waiting = store.open(above.table).count(above.key, streams, column) - grouped
        reasons: dict[str, int] = {}
        _add(reasons, "new", survey.missing + max(0, waiting))
        _add(reasons, "content changed", survey.outdated)
        return reasons

    def _moves(self, stage: Stage, stream_id: str) -> bool:
        """Say whether rows of an upstream stage will change for a stream."""
        if stage.kind != "pixels":
            return bool(self._found[stage.name].compute)
        counts = self._surveys[stage.name].streams[stream_id]
        return bool(counts.missing or counts.outdated or counts.gone)


def _add(reasons: dict[str, int], reason: str, count: int) -> None:
    if count:
        reasons[reason] = reasons.get(reason, 0) + count


class _Changes:
    """Finds how a stage's configuration differs from the one that a stream's head shows."""

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
        """Return why the stream's rows for the stage cannot be reused, None if its configuration is the same or new."""
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
