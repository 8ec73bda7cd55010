"""The steps of a round: what each is to do, recorded before it begins, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

import schemas
from jobs.active_learning import choice, people, spending, stop_rules
from jobs.active_learning.loop_log import CONTINUE, LoopRound, LoopState, LoopStep
from jobs.active_learning.options import LoopOptions, Step
from jobs.core.errors import JobStateError, NotPromotedError, UserError
from jobs.evaluation import promotion
from jobs.evaluation.options import EvaluateOptions
from jobs.models import registry
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.spare_files import temporary_folder
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.training.options import TrainOptions
from jobs.training.training_data import tried
from jobs.views.categories import categories_of
from jobs.views.view import View

CHALLENGER = "challenger"
"""The alias of the version that a loop works with where it does not promote."""

_WITHOUT_MODEL = "quality"
_SPLIT_SEEDS = 20
_LARGER = ("route.larger=", "route.larger_detector=")
_NEEDS_FRAMES: frozenset[Step] = frozenset({"escalate", "review", "release", "train", "evaluate", "promote"})


class WaitsForPeopleError(Exception):
    """A round waits for people; `reviewed` of `asked` frames are done."""

    def __init__(self, reviewed: int, asked: int) -> None:
        self.reviewed, self.asked = reviewed, asked
        super().__init__(f"{reviewed:,} of {asked:,} frames are reviewed")


@dataclass(frozen=True)
class RoundContext:
    """What a step is given: the loop as its records say, and the round."""

    workspace: Workspace
    store: Store
    state: LoopState
    round: LoopRound
    job_id: str
    now_ns: int

    @property
    def options(self) -> LoopOptions:
        """Return the options of the loop."""
        return self.state.options

    @property
    def release(self) -> str:
        """Return the name of the release that the round makes."""
        return f"{self.options.name}-r{self.round.number}"

    @property
    def streams(self) -> list[str]:
        """Return the streams that the round's run covers."""
        rows = self.store.read(schemas.RUNS, ("job_id", "streams")).to_pylist()
        job_id = self.round.steps["annotate"].job_id
        return next(list(row["streams"]) for row in rows if row["job_id"] == job_id)

    def current(self) -> registry.ModelVersion | None:
        """Return the version that the loop works with: its last one that was better, else the champion, else none."""
        if self.state.version is not None:
            return registry.find(self.store, f"{self.options.name}@{self.state.version}")
        champion = registry.current(self.store, self.options.name, promotion.CHAMPION)
        return registry.find(self.store, f"{self.options.name}@{champion}") if champion else None


Result = tuple[dict[str, Any], str]
"""The figures of a step, and a line on what came of it."""


# What is to be done: the options of a job, or why there is none. Steps without an entry have no job.


def _annotate(context: RoundContext) -> dict[str, Any]:
    return _run(context, [])


def _escalate(context: RoundContext) -> dict[str, Any]:
    options = context.options
    if not (options.questions or options.larger):
        return {"skip": "neither questions to a model nor a larger detector were requested"}
    if _weights(context) is None:
        return {"skip": "there is no model yet whose uncertainty could be asked about"}
    usd = spending.left(context.store, context.state).usd
    stages, settings = second_looks(options, usd)
    if not stages:
        return {"skip": f"the {options.usd:g} USD for questions are used up"}
    return _run(context, settings, *stages)


def second_looks(options: LoopOptions, usd: float) -> tuple[list[str], list[str]]:
    """Return the stages that process uncertain frames once more, and their settings, with so much money left."""
    stages, settings = [], []
    if options.larger:
        stages.append("larger")
        settings += [text for text in options.settings if text.startswith(_LARGER)]
        settings.append(f"route.budget_larger={options.larger}")
    if options.questions and usd > 0:
        stages.append("escalate")
        settings += [f"route.budget_vlm={options.questions}", f"escalate.max_usd={usd!r}"]
    return stages, settings


def annotating(options: LoopOptions, more: Sequence[str], *stages: str) -> RunOptions:
    """Return the options of a run that annotates and routes, with some stages after these."""
    own = [text for text in options.settings if not text.startswith(_LARGER)]
    return RunOptions(
        inputs=options.inputs, profile=options.profile, settings=(*own, *more), add_stages=("route", *stages)
    )


def _run(context: RoundContext, more: list[str], *stages: str) -> dict[str, Any]:
    options = context.options
    weights = _weights(context)
    if weights is None:
        run = RunOptions(inputs=options.inputs, profile=_WITHOUT_MODEL, settings=_without_model(options.settings))
    else:
        n = min(options.frames_a_round, spending.left(context.store, context.state).frames)
        run = annotating(options, [f"route.budget_person={n}", *weights, *more], *stages)
    return {"submitted": {"request": build_request(context.workspace.root, run).as_data(), "priority": 0}}


def _without_model(settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the settings that a run without a detector has."""
    models = ("annotate.", "route.", "escalate.", "when.annotate")
    return tuple(text for text in settings if not text.startswith(models))


def _weights(context: RoundContext) -> list[str] | None:
    """Return the settings that name the weights to annotate with; None where there are none yet."""
    version = context.current()
    if version is not None:
        return [f"annotate.weights={registry.PREFIX}{version.reference}"]
    return [f"annotate.weights={context.options.weights}"] if context.options.weights else None


def _train(context: RoundContext) -> dict[str, Any]:
    options = context.options
    minutes = spending.left(context.store, context.state).minutes
    version = context.current()
    base = options.model if version is None or options.from_base else str(version.folder)
    note = f"round {context.round.number} of loop {options.name}"
    chosen = options.train_options(context.release, base, minutes, note)
    chosen = chosen.model_copy(update={"split_seed": _split_seed(context, chosen)})
    return _task("train", chosen.model_dump(mode="json"))


def _split_seed(context: RoundContext, options: TrainOptions) -> int:
    """Return the seed of the splits: that of the rounds before, else the first one with which no split is empty.

    Of the few frames of a first round, none may fall into val; frames keep their splits for good.
    """
    before = [each.steps["train"].submitted for each in context.state.rounds if "train" in each.steps]
    if seeds := [found["task"]["split_seed"] for found in before if "task" in found]:
        return int(seeds[-1])
    if context.options.measured.split or "split_seed" in context.options.training:
        return options.split_seed
    for seed in range(_SPLIT_SEEDS):
        with temporary_folder() as folder:
            try:
                data = tried(context.workspace, options.model_copy(update={"split_seed": seed}), folder)
            except UserError:
                continue
            if all(any(len(image.boxes) for image in images) for images in data.images.values()):
                return seed
    # The job says what is wrong.
    return options.split_seed


def _evaluate(context: RoundContext) -> dict[str, Any]:
    options = context.options
    made = registry.find(context.store, str(context.round.result("train")["model"]))
    version = context.current()
    against = None if version is None or version.model_id == made.model_id else version.reference
    threads = options.training.get("threads")
    chosen = EvaluateOptions(
        model=made.reference, on=options.on, against=against, by=f"loop {options.name}", threads=threads
    )
    return _task("evaluate", chosen.resolved(context.store).model_dump(mode="json"))


def _release(context: RoundContext) -> dict[str, Any]:
    note = f"round {context.round.number} of loop {context.options.name}"
    return _task("release", {"name": context.release, "note": note, "streams": context.streams})


def _task(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"submitted": {"kind": kind, "task": dict(options), "priority": 0}}


def plan(context: RoundContext, step: Step) -> dict[str, Any]:
    """Return what is recorded of a step before it begins: `submitted`, what its job is to do, or `skip`, why not.

    Raises `UserError` for what cannot be done.
    """
    if step in _NEEDS_FRAMES and not context.round.result("route").get("frames"):
        return {"skip": "there is no frame to ask about"}
    plans: Mapping[Step, Callable[[RoundContext], dict[str, Any]]] = {
        "annotate": _annotate,
        "escalate": _escalate,
        "release": _release,
        "train": _train,
        "evaluate": _evaluate,
    }
    return plans[step](context) if step in plans else {}


# What came of it.


def result_of(context: RoundContext, begun: LoopStep, of_job: Mapping[str, Any]) -> Result:
    """Return the result of a step whose job is done, with `of_job` as its result, or that needs no job: it is done now.

    Raises `WaitsForPeopleError`, and `UserError` for what cannot be done.
    """
    if begun.skip is not None:
        return {"skipped": True}, begun.skip
    steps: Mapping[Step, Callable[[RoundContext, LoopStep, Mapping[str, Any]], Result]] = {
        "annotate": _annotated,
        "route": _routed,
        "escalate": _escalated,
        "review": _reviewed,
        "release": _released,
        "train": _trained,
        "evaluate": _evaluated,
        "promote": _promoted,
        "decide": _decided,
    }
    return steps[begun.step](context, begun, of_job)


def _annotated(context: RoundContext, begun: LoopStep, _: Mapping[str, Any]) -> Result:
    rows = context.store.read(schemas.RUNS, ("job_id", "frames")).to_pylist()
    frames = next(row["frames"] for row in rows if row["job_id"] == begun.job_id)
    version = context.current()
    by = version.reference if version else context.options.weights
    return {"frames": frames, "by": by}, f"{frames:,} frames, annotated by {by or 'nothing yet'}"


def _routed(context: RoundContext, _: LoopStep, __: Mapping[str, Any]) -> Result:
    options, number = context.options, context.round.number
    n = min(options.frames_a_round, spending.left(context.store, context.state).frames)
    view = View.of(context.workspace)
    has_model = _weights(context) is not None
    chosen = choice.choose(view, context.store, options, number, n, context.streams, has_model)
    choice.record(context.store, options, number, chosen, context.job_id)
    n_random = chosen.n_random
    found = {
        "frames": chosen.frames.height,
        "random": n_random,
        "eligible": chosen.eligible,
        "duplicates": chosen.duplicates,
        "sealed": chosen.sealed,
        "selection": choice.selection_of(options.name, number),
    }
    return found, (
        f"{chosen.frames.height:,} of {chosen.eligible:,} frames that nobody has reviewed: "
        f"{chosen.frames.height - n_random:,} the most uncertain, {n_random:,} by chance; "
        f"{chosen.duplicates:,} duplicates and neighbours left out"
    )


def _escalated(context: RoundContext, begun: LoopStep, _: Mapping[str, Any]) -> Result:
    rows = pl.DataFrame(context.store.read(schemas.ESCALATIONS, ("job_id", "cost_usd")))
    mine = rows.filter(pl.col("job_id").cast(pl.String) == begun.job_id)
    usd = float(mine["cost_usd"].sum())
    text = f"{mine.height:,} questions for {usd:.4f} USD"
    if context.options.larger:
        text += f"; a larger detector processed up to {context.options.larger:,} frames"
    if mine.height < context.options.questions:
        text += f", of {context.options.questions:,}: nothing else is uncertain enough, or the money covers no more"
    return {"questions": mine.height, "usd": usd}, text


def _reviewed(context: RoundContext, begun: LoopStep, _: Mapping[str, Any]) -> Result:
    options, number = context.options, context.round.number
    # A model that is there names what people may find; before that, what the tables know.
    categories = tuple(categories_of(View.of(context.workspace)))
    version = context.current()
    known = tuple(version.row["classes"]) if version else ()
    people.published(context.workspace, options, number, tuple(dict.fromkeys((*categories, *known))))
    found = people.reviewed(context.workspace, options.name, number)
    asked, done = found["asked"], found["frames"]
    since = max(begun.began_ns, context.state.resumed_ns)
    is_late = options.wait_hours is not None and context.now_ns - since > options.wait_hours * 3600e9
    if done < asked * options.min_reviewed and not (is_late and 2 * done >= asked):
        if is_late:
            raise UserError(
                f"{done:,} of {asked:,} frames are reviewed after {options.wait_hours:g} hours, expected half of them; "
                f"`winnow loop resume {options.name}` waits as long once more"
            )
        raise WaitsForPeopleError(done, asked)
    changed = found["corrected"] + found["added"] + found["rejected"]
    return found, f"people reviewed {done:,} of {asked:,} frames and changed {changed:,} objects"


def _released(_: RoundContext, __: LoopStep, of_job: Mapping[str, Any]) -> Result:
    return {"release": of_job["name"]}, f"release {of_job['name']}"


def _trained(context: RoundContext, _: LoopStep, of_job: Mapping[str, Any]) -> Result:
    rows = context.store.read(schemas.MODELS, ("model_id", "seconds")).to_pylist()
    seconds = next(row["seconds"] for row in rows if row["model_id"] == of_job["model_id"])
    names = ("model", "model_id", "epochs", "best_epoch", "frames")
    found = {name: of_job.get(name) for name in names} | {"minutes": seconds / 60}
    return found, f"{of_job['model']} on {of_job['frames']:,} images, in {seconds / 60:.1f} minutes"


def _evaluated(context: RoundContext, _: LoopStep, of_job: Mapping[str, Any]) -> Result:
    against = of_job.get("against")
    found = {name: of_job.get(name) for name in ("AP", "AP50", "AP75", "evaluation_id", "frames", "uses")}
    difference = against["difference"] if against else None
    verdict = str(against["verdict"]) if against else "first"
    found |= {"verdict": verdict, "difference": difference}
    metric, target = context.options.goal
    text = f"{metric} {stop_rules.figure(found[metric])}, target {target:g}"
    if against and difference:
        mean, low, high = (stop_rules.figure(difference[name]) for name in ("mean", "low", "high"))
        text += f"; AP differs from {against['model']} by {mean} ({low} to {high}): {verdict.replace('_', ' ')}"
    return found, text


def _promoted(context: RoundContext, _: LoopStep, __: Mapping[str, Any]) -> Result:
    options, store = context.options, context.store
    made = registry.find(store, str(context.round.result("train")["model"]))
    alias = promotion.CHAMPION if options.promote else CHALLENGER
    reason = f"round {context.round.number} of loop {options.name}"
    by = f"loop {options.name}"
    found: dict[str, Any] = {"version": made.version, "alias": None, "number": None, "holds": False}
    before = context.current()
    evidence = promotion.evidence_for(store, made, before)
    if not evidence.holds:
        return found, f"not promoted: {'; '.join(evidence.against)}"
    changes = registry.history(store, options.name, alias)
    # An attempt before may have been ended between the change and its record here.
    last = changes[-1] if changes else None
    if last is None or (last["version"], last["by"], last["reason"]) != (made.version, by, reason):
        try:
            last = promotion.promote(store, made.reference, alias, by=by, reason=reason)
        except (NotPromotedError, JobStateError) as error:
            return found, f"not promoted: {'; '.join(error.problems)}"
    found |= {"alias": alias, "number": last["number"], "holds": True}
    return found, f"{made.reference} is {alias}: " + "; ".join(clause.text for clause in evidence.clauses)


def _decided(context: RoundContext, _: LoopStep, __: Mapping[str, Any]) -> Result:
    ends, why = stop_rules.decide(context.state, spending.left(context.store, context.state))
    return {"decision": ends or CONTINUE}, why
