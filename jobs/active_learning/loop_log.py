"""Log of a loop: numbered records that are created once; folding them says at which step of which round it is.

The records of a loop are in `WORKSPACE/active_learning/NAME/`. Each step is recorded before it begins, with the id and
the options of the job that does it, and with its result before the next one begins. So a loop that is killed continues
with what it had begun: with the same job, which is done once.

| word      | after it                                                                                              |
| --------- | ----------------------------------------------------------------------------------------------------- |
| `started` | there is the loop; data: `options`, `job_id`                                                          |
| `begun`   | a step has begun; data: `round`, `step`, and `job_id` with `submitted`, or `skip`: why there is no job |
| `done`    | that step is done; data: `round`, `step`, `result`, `why`; a `decision` in it may end the loop        |
| `job`     | the loop continues as another job; data: `job_id`                                                     |
| `resumed` | somebody has resumed it; a deadline for people counts from then on                                    |
| `stop`    | it ends before the next step; data: `by`                                                              |
| `ended`   | it was stopped; data: `state`, `why`                                                                  |
| `undone`  | a round counts no more, and what has ended may continue; data: `round`, `by`, `why`                   |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.active_learning.options import STEPS, LoopOptions, Step
from jobs.core.errors import UserError
from jobs.core.naming import wrong_with
from jobs.records.numbered_records import NumberedRecords, Record
from jobs.storage.paths import Place

FOLDER = "active_learning"
"""The folder of a workspace that has the records of loops, and the files that people review."""

CONTINUE = "continue"
"""The decision after a round that does not end a loop."""

_WORDS = ("started", "begun", "done", "job", "resumed", "stop", "ended", "undone")


@dataclass(frozen=True)
class LoopStep:
    """A step of a round: what was recorded when it began, and its result; None while it lasts.

    `job_id` is the job that does it; None for one without, or one that is skipped for the reason `skip`.
    """

    step: Step
    began_ns: int
    job_id: str | None = None
    submitted: Mapping[str, Any] = field(default_factory=dict)
    skip: str | None = None
    result: Mapping[str, Any] | None = None
    why: str | None = None
    ended_ns: int | None = None


@dataclass
class LoopRound:
    """A round: its number from 1, and its steps so far."""

    number: int
    steps: dict[Step, LoopStep] = field(default_factory=dict)
    is_undone: bool = False

    def result(self, step: Step) -> Mapping[str, Any]:
        """Return the result of a step; empty where it is not done."""
        found = self.steps.get(step)
        return (found.result if found else None) or {}

    @property
    def step(self) -> Step | None:
        """Return the step that is to be done next; None where all are done."""
        return next((step for step in STEPS if (found := self.steps.get(step)) is None or found.result is None), None)


@dataclass
class LoopState:
    """Where a loop is, folded from its records. `ended`: how it ended and why; None while it has not."""

    options: LoopOptions
    started_ns: int
    job_id: str
    rounds: list[LoopRound] = field(default_factory=list)
    resumed_ns: int = 0
    is_to_stop: bool = False
    stopped_by: str = ""
    ended: tuple[str, str] | None = None
    ended_ns: int | None = None

    @property
    def counted(self) -> list[LoopRound]:
        """Return the rounds that nobody has undone."""
        return [each for each in self.rounds if not each.is_undone]

    @property
    def current(self) -> LoopRound | None:
        """Return the round that is under way; None before the first one and between two."""
        last = self.rounds[-1] if self.rounds else None
        return last if last is not None and last.step is not None and not last.is_undone else None

    @property
    def version(self) -> int | None:
        """Return the version of the model that the loop works with: the last one that was better; None for none."""
        held = [each.result("promote") for each in self.counted]
        return next((int(found["version"]) for found in reversed(held) if found.get("holds")), None)


class LoopLog(NumberedRecords):
    """The records of one loop of the workspace at `root`. They need not exist yet."""

    def __init__(self, root: Place, name: str) -> None:
        if problem := wrong_with("loop", name):
            raise UserError(problem)
        super().__init__(root / FOLDER / name, "loop")
        self.name = name

    def state(self) -> LoopState | None:
        """Return where the loop is; None if there is none."""
        return fold(self.records())

    def add(self, word: str, data: Mapping[str, Any] | None = None, after: int | None = None) -> Record | None:
        """Add a record; with `after`, only if that is still the number of the last one, and None if it is not."""
        if word not in _WORDS:
            raise ValueError(f"{word!r} is no word of a loop; expected one of {', '.join(_WORDS)}")
        while True:
            last = self.last()
            number = last.number if last else 0
            if after is not None and after != number:
                return None
            if record := self.create(number + 1, word, data):
                return record


def loops_of(root: Place) -> list[str]:
    """Return the names of all loops of the workspace at `root`, in order."""
    return (root / FOLDER).folders_with(f"{1:06}.json")


def fold(records: Sequence[Record]) -> LoopState | None:
    """Return where records, given in order, say that a loop is; None if there are none."""
    if not records:
        return None
    first = records[0]
    state = LoopState(LoopOptions.model_validate(first.data["options"]), first.at_ns, first.data["job_id"])
    for record in records[1:]:
        _take(state, record)
    return state


def _take(state: LoopState, record: Record) -> None:
    data = record.data
    if record.word in {"begun", "done"}:
        _take_step(state, record)
    elif record.word == "job":
        state.job_id = data["job_id"]
    elif record.word == "resumed":
        state.resumed_ns, state.is_to_stop = record.at_ns, False
    elif record.word == "stop":
        state.is_to_stop, state.stopped_by = True, data.get("by", "")
    elif record.word == "ended" and state.ended is None:
        state.ended, state.ended_ns = (data["state"], data["why"]), record.at_ns
    elif record.word == "undone":
        for each in state.rounds:
            each.is_undone = each.is_undone or each.number == data["round"]
        state.ended = state.ended_ns = None


def _take_step(state: LoopState, record: Record) -> None:
    data = record.data
    number, step = data["round"], data["step"]
    if not state.rounds or state.rounds[-1].number < number:
        state.rounds.append(LoopRound(number))
    steps = next(each for each in state.rounds if each.number == number).steps
    if record.word == "begun":
        steps[step] = LoopStep(
            step, record.at_ns, data.get("job_id"), data.get("submitted", {}), data.get("skip"), None, None, None
        )
    elif (begun := steps.get(step)) is not None and begun.result is None:
        steps[step] = LoopStep(
            step,
            begun.began_ns,
            begun.job_id,
            begun.submitted,
            begun.skip,
            data.get("result", {}),
            data.get("why"),
            record.at_ns,
        )
        decision = data.get("result", {}).get("decision", CONTINUE)
        if decision != CONTINUE and state.ended is None:
            state.ended, state.ended_ns = (decision, data["why"]), record.at_ns
