"""Runner of the stages that read pixels: one pass computes all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, NoReturn

import pyarrow as pa

from jobs.core.errors import RunFailedError, RunStopped
from jobs.core.naming import MEASURE
from jobs.core.stage import Stage
from jobs.passes import stream_statistics
from jobs.passes.intake import Intake, PassResult, common_error
from jobs.passes.pixel_pass import limited, run_pass
from jobs.passes.pixel_plan import PixelPlan, Planner
from jobs.passes.quarantined_frames import only_quarantined
from jobs.passes.run_context import RunContext, Survey
from jobs.stages.build import pixel_params
from jobs.storage.committer import Committer
from jobs.storage.quarantine import update_quarantine


class PixelStages:
    """The stages of one run that read pixels; a `Runner`.

    They are one pass: it is run for the first stage that is requested, and each is accounted for when it is its turn.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._stages = [s for s in context.stages if s.kind == "pixels"]
        self._plan: PixelPlan | None = None
        self._passed: _Passed | None = None

    def survey(self, stage: Stage) -> Survey:
        """Return how a stage stands against the listing."""
        if self._plan is None:
            self._plan = self._planner().survey(self._context.check)
        total = self._plan.stage_total(stage.name)
        streams = {name: self._plan.of(stage.name, name) for name in self._context.streams}
        return Survey(
            total.n_frames, total.n_frames, total.missing, total.outdated, total.unread, total.gone, streams=streams
        )

    def run(self, stage: Stage) -> bool:
        """Run the pass if it has not run yet, and compare frames in with rows out and quarantined."""
        if self._passed is None:
            self._passed = self._run_pass()
        passed = self._passed
        live, result = self._context.now, passed.result
        then, now = passed.before.stage_total(stage.name), passed.after.stage_total(stage.name)
        outcome, earlier = live.outcome(stage)
        outcome.account(
            earlier,
            frames_in=now.n_frames,
            done=None if self._context.recompute else now.n_frames - now.missing,
            computed=result.computed.get(stage.table.name, 0),
            quarantined=passed.faults.get(stage.name, 0),
            verified=result.verified.get(stage.name, 0),
            removed=then.gone,
            seconds=result.seconds,
        )
        partly = live.limit is not None or live.only_quarantined or self._context.recompute
        if now.missing > outcome.quarantined and not partly:
            raise RunFailedError(
                f"stage {stage.name}: {now.n_frames} frames in, {now.n_frames - now.missing} rows out and "
                f"{outcome.quarantined} quarantined; run again to compute the rest"
            )
        if self._context.recompute or stage is self._stages[-1]:
            self._tally(result)
        return result.n_frames > 0

    @property
    def last(self) -> Stage:
        """Return the stage that is accounted for last."""
        return self._stages[-1]

    def note_streams(self) -> None:
        """Write what was read of the streams into their rows, and count the frames that do not decode."""
        context, record = self._context, self._context.now.record
        n_bad = stream_statistics.note(context.store, self._stages[0].key, context.streams, context.job_id)
        for stage in context.stages if n_bad is not None else ():
            record.outcomes[stage.name].corrupt = n_bad or 0

    def _planner(self) -> Planner:
        context = self._context
        recompute = context.recompute
        return Planner(context.store, context.stages, context.listed, context.listing, recompute, context.reread)

    def _run_pass(self) -> _Passed:
        context = self._context
        before, result = self._measure()
        after = before
        stopped = result.stopped
        if not stopped and not context.recompute and (result.n_frames or any(before.gone.values())):
            try:
                planner = Planner(context.store, context.stages, context.listed, context.listing)
                after = planner.survey(context.check)
            except RunStopped:
                stopped = True
        frames = before.stage_total(self._stages[0].name).n_frames
        if not stopped and (error := common_error(result.faults, frames)):
            raise RunFailedError(f"each of the {frames:,} frames failed alike, so that it is not the frames: {error}")
        faults = update_quarantine(context.store, list(context.stages), context.streams, result.faults, context.job_id)
        if stopped:
            self._leave(before, result)
        if context.recompute:
            faults = {context.recompute: len(result.faults)}
        return _Passed(before, after, result, faults)

    def _measure(self) -> tuple[PixelPlan, PassResult]:
        context, live = self._context, self._context.now
        planner = self._planner()
        plan = planner.survey(context.check)
        unread = {name for (_, name), counts in plan.counts.items() if counts.unread}
        live.unread.update({s.stream_id: s.n_frames for s in context.listed if s.stream_id in unread})
        every_s = context.config.resources.commit_seconds
        on_committed = live.reporter.committed
        committer = Committer(context.store, self._stages, planner.snapshots, context.job_id, every_s, on_committed)
        for name, keys in plan.gone.items():
            committer.remove(name, pa.concat_tables(keys))
        limit = live.limit
        if limit is not None:
            limit = max(0, limit - live.record.earlier_counts.get("frames_visited", 0))
        total = plan.n_open if limit is None else min(plan.n_open, limit)
        if total:
            live.reporter.began(MEASURE, total)
        todo, params = planner.todo(), pixel_params(context.config)
        recomputed = (context.recompute,) if context.recompute else ()
        if live.only_quarantined:
            todo = only_quarantined(todo, context.store)
        result = run_pass(
            limited(todo, limit),
            total,
            self._stages,
            context.config,
            params.only(context.recompute) if context.recompute else params,
            context.store.root,
            live.engine,
            Intake(committer, live.reporter.measured, live.claim, live.abort),
            frozenset(recomputed),
        )
        return plan, result

    def _leave(self, plan: PixelPlan, result: PassResult) -> NoReturn:
        """Account for a pass that was asked to end, and end."""
        live = self._context.now
        for stage in self._stages if not self._context.recompute else ():
            outcome, earlier = live.outcome(stage)
            outcome.account(
                earlier,
                frames_in=plan.stage_total(stage.name).n_frames,
                computed=result.computed.get(stage.table.name, 0),
                verified=result.verified.get(stage.name, 0),
                seconds=result.seconds,
                state="paused",
            )
        self._tally(result)
        raise RunStopped(live.claim.asked() or "paused")

    def _tally(self, result: PassResult) -> None:
        record = self._context.now.record
        before = record.earlier_counts
        record.counts |= before | {name: n + before.get(name, 0) for name, n in result.tally().items()}
        if result.first_commit_ns and "first_commit_ms" not in before:
            record.counts["first_commit_ms"] = (result.first_commit_ns - record.started_ns) // 1_000_000
        record.frames_per_second = result.frames_per_second or record.frames_per_second


class _Passed(NamedTuple):
    """What came of the pass: the plan before it, how the stages stand after it, and quarantined frames by stage."""

    before: PixelPlan
    after: PixelPlan
    result: PassResult
    faults: Mapping[str, int]
