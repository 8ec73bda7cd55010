"""The stage `escalate`: routed frames are judged by a vision language model; no answer is paid for twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

import schemas
from jobs.core.errors import UserError
from jobs.core.naming import many
from jobs.core.optional_packages import missing
from jobs.core.stage import Stage
from jobs.records.run_record import StageOutcome
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Drop, Store
from jobs.vlm.call_round import CallRound
from jobs.vlm.vlm_calls import Row, VlmRequest
from jobs.vlm.vlm_clients import PACKAGES
from schemas import FRAME_KEY
from transforms.assess.escalation import EscalateParams, Question, as_jpeg, question, read_answer
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import ImageParams


def skipped(params: EscalateParams) -> str | None:
    """Return which variable of the environment forbids to ask, if one does."""
    if os.environ.get("SKIP_VLM", "") not in {"", "0"}:
        return "SKIP_VLM"
    forbidden = os.environ.get("SKIP_CLOUD", "") not in {"", "0"}
    return "SKIP_CLOUD" if forbidden and not params.is_local else None


def sends_to(params: EscalateParams) -> str:
    """Return where the stage sends frames, with which key, and how that is prevented."""
    where = params.url or f"the own address of {params.api}"
    key = f"the key in ${params.key_name}" if params.key_name else "no key"
    return f"single frames to {where}, with {key}; {'SKIP_VLM' if params.is_local else 'SKIP_CLOUD'}=1 sends none"


def check(params: EscalateParams) -> None:
    """Raise `UserError` with all that is wrong with what the calls need.

    Where the environment forbids to ask, nothing is needed.
    """
    if skipped(params):
        return
    problems = [*params.problems(), *missing("vlm", PACKAGES[params.api])]
    if not params.is_local and params.key_name and not os.environ.get(params.key_name):
        problems.append(f"${params.key_name} is not set; expected the key of the endpoint there")
    if problems:
        raise UserError(problems)


def unasked(outcome: StageOutcome, params: EscalateParams) -> str | None:
    """Return a line on the frames that a run did not ask about although they were routed to the model, if there are."""
    left = outcome.left_over
    if left <= 0:
        return None
    why = skipped(params)
    reason = (
        f"{why} is set" if why else "escalate.max_usd, or the endpoint's patience, was used up; run again to continue"
    )
    return f"the model was not asked about {many(left, 'frame')}: {reason}"


def unanswered(outcome: StageOutcome, params: EscalateParams) -> str | None:
    """Return a line on the frames that have no valid answer, and on which of them are asked again, if there are any."""
    if not outcome.quarantined:
        return None
    return (
        f"escalate has no valid answer for {outcome.quarantined:,}; the next run asks again where fewer than "
        f"{params.attempts} answers came, but where none of so many fitted only if escalate.attempts "
        "is raised (winnow inspect quarantine)"
    )


class CallSurvey(NamedTuple):
    """How many frames are routed to the model, and about how many of them it has not been asked yet."""

    wanted: int
    open: int


class Escalation:
    """The questions of one run's stage to a vision language model. `check` is called between calls, and may end it."""

    def __init__(
        self,
        store: Store,
        stage: Stage,
        stages: Mapping[str, Stage],
        params: EscalateParams,
        image: ImageParams,
        streams: Sequence[str],
        job_id: str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._stage = stage
        self._route = stage.upstream_of(schemas.ROUTING)
        self._frames_stage = stage.upstream_of(schemas.FRAMES)
        self._annotate = stages[schemas.ANNOTATED.written_by]
        self._params = params
        self._model = params.model or ""
        self._image = image
        self._streams = frozenset(streams)
        self._job_id = job_id
        self._check = check
        self._questions: _Questions | None = None

    def survey(self) -> CallSurvey:
        """Return how many frames are routed to the model, and about how many of them it has not been asked yet."""
        questions = self._questions = self._compare()
        return CallSurvey(len(questions.requests), len(questions.open))

    def open_frames(self) -> set[tuple[str, int]]:
        """Return the frames that are routed to the model and have no valid answer now, as (stream, number)."""
        return {_place(request.frame) for request in self._compare().open}

    def ask(self) -> tuple[int, list[Row]]:
        """Ask about what is open as last surveyed; return how many valid answers came, and the faults of frames.

        Answers are written also where the run is ended in between. Raises `RunFailedError` where the endpoint answers
        nobody.
        """
        questions = self._questions or self._compare()
        fresh: list[Row] = []
        faults: list[Row] = []
        try:
            if not skipped(self._params):
                self._ask_all(questions.open, fresh, faults)
        finally:
            if fresh or len(questions.kept) < questions.n_answered:
                self._write([*questions.kept, *fresh])
        return len(fresh), faults

    def _compare(self) -> _Questions:
        routed = self._routed()
        requests = list(self._requests(routed))
        answered = self._answered()
        # An answer stays for as long as the question would be the same, even if other frames are routed by now.
        others = self._requests(
            [row for key, row in self._frames(list(answered)).items() if key not in _places(routed)]
        )
        same = [request for request in (*requests, *others) if _call_of(answered, request) == request.call_id]
        kept = [answered[_place(request.frame)] for request in same]
        open_ = [request for request in requests if _call_of(answered, request) != request.call_id]
        return _Questions(requests, open_, kept, len(answered))

    def _ask_all(self, requests: Sequence[VlmRequest], fresh: list[Row], faults: list[Row]) -> None:
        """Ask about requests, the first ones first, several at a time; what came of each is in their order.

        However it ends, questions that are under way are waited for: they are paid for.
        """
        round_ = CallRound(self._store, self._params, self._jpeg_of, self._job_id, self._check)
        try:
            round_.ask(requests)
        finally:
            for request in requests:
                came = round_.came.get(request.key)
                if isinstance(came, dict) and came["state"] == "done":
                    fresh.append(self._row(request, came))
                elif isinstance(came, dict):
                    faults.append(_fault(self._stage, request, came["error"] or came["state"]))
                elif came is not None:
                    faults.append(_fault(self._stage, request, came))

    def _jpeg_of(self, request: VlmRequest, clips: Clips) -> bytes:
        """Return the image of a frame as JPEG. Raises `OSError` where it cannot be read, or is not what it was."""
        frame = open_frame(request.frame["uri"], None, self._image, clips)
        if frame.content() != request.frame["input_id"]:
            raise OSError(f"{request.frame['uri']} has changed since it was measured; run its stream again")
        return as_jpeg(frame.color(), self._params.long_side)

    def _row(self, request: VlmRequest, entry: Row) -> Row:
        assert isinstance(request.asked, Question)
        answer = read_answer(entry["after"], request.asked)
        return {
            "input_id": request.frame["input_id"],
            **{name: request.frame[name] for name in FRAME_KEY},
            "call_id": request.call_id,
            "verdicts": request.asked.verdicts(answer),
            "missing": answer.missing,
            "model": self._model,
        }

    def _write(self, rows: Sequence[Row]) -> None:
        """Let the table have just these rows of the run's streams."""
        table = pa.Table.from_pylist(list(rows), schemas.ESCALATED.file_schema)

        def change(_: object) -> Change:
            parts = [write_part(self._store.root, schemas.ESCALATED, table, {"stage_key": self._stage.key})]
            return Change(parts if rows else [], [Drop(self._stage.key, self._streams)])

        self._store.transact(schemas.ESCALATED, change, self._job_id)

    def _answered(self) -> dict[tuple[str, int], Row]:
        names = schemas.ESCALATED.file_schema.names
        rows = self._store.open(schemas.ESCALATED).read(names, self._stage.key, self._streams)
        return {_place(row): row for row in rows.to_pylist()}

    def _routed(self) -> list[Row]:
        """Return the frames that are routed to the model, the most uncertain first."""
        columns = (*FRAME_KEY, "route", "uncertainty")
        rows = self._store.open(schemas.ROUTING).read(columns, self._route.key, self._streams)
        chosen = pl.DataFrame(rows).filter(route="vlm").sort("uncertainty", *FRAME_KEY, descending=[True, False, False])
        frames = self._frames([(stream, number) for stream, number in chosen.select(FRAME_KEY).iter_rows()])
        return [frames[key] for key in chosen.select(FRAME_KEY).iter_rows() if key in frames]

    def _frames(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Row]:
        if not keys:
            return {}
        columns = (*FRAME_KEY, "uri", "input_id", "content_hash", "width", "height", "status")
        numbers = [number for _, number in keys]
        span = (min(numbers), max(numbers) + 1)
        streams = frozenset(stream for stream, _ in keys)
        rows = pl.DataFrame(self._store.open(schemas.FRAMES).read(columns, self._frames_stage.key, streams, span))
        wanted = frozenset(keys)
        found = rows.filter(pl.col("status") == "ok").iter_rows(named=True)
        return {_place(row): row for row in found if _place(row) in wanted}

    def _requests(self, frames: Sequence[Row]) -> Iterator[VlmRequest]:
        if not frames:
            return
        streams = frozenset(row["stream_id"] for row in frames)
        numbers = [row["frame_idx"] for row in frames]
        span = (min(numbers), max(numbers) + 1)
        columns = ("annotation_id", *FRAME_KEY, "category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h")
        rows = self._store.open(schemas.ANNOTATIONS).read(columns, self._annotate.key, streams, span)
        objects: dict[tuple[str, int], list[Row]] = {}
        for row in rows.to_pylist():
            objects.setdefault(_place(row), []).append(row)
        names: Sequence[str] = self._annotate.params.get("annotate.names") or sorted(set(rows["category"].to_pylist()))
        for frame in frames:
            size = (frame["width"], frame["height"])
            asked = question(objects.get(_place(frame), []), names, *size, self._params.long_side)
            yield VlmRequest(frame, asked, asked.call_id(self._model, frame["content_hash"]))


class _Questions(NamedTuple):
    """Questions to put, in order, those of them without an answer, answers that stay, and how many there are now."""

    requests: list[VlmRequest]
    open: list[VlmRequest]
    kept: list[Row]
    n_answered: int


def _fault(stage: Stage, request: VlmRequest, error: object) -> Row:
    kind = type(error).__name__ if isinstance(error, Exception) else "NoAnswer"
    fault = {"stage": stage.name, "error_type": kind, "error": " ".join(str(error).split())}
    return {name: request.frame[name] for name in (*FRAME_KEY, "uri")} | fault


def _place(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["stream_id"], row["frame_idx"]


def _places(rows: Sequence[Row]) -> frozenset[tuple[str, int]]:
    return frozenset(map(_place, rows))


def _call_of(answered: Mapping[tuple[str, int], Row], request: VlmRequest) -> str | None:
    row = answered.get(_place(request.frame))
    return row["call_id"] if row else None
