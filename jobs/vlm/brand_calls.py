"""The stages `ask_local` and `ask_cloud`: crops whose brand is open are shown to a vision language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from blake3 import blake3

import schemas
from jobs.core.errors import RunFailedError, UserError
from jobs.core.stage import Stage
from jobs.records.run_record import StageOutcome
from jobs.storage.data_files import write_part
from jobs.storage.store import Change, Drop, Store
from jobs.vlm import vlm_stage
from jobs.vlm.call_round import CallRound
from jobs.vlm.vlm_calls import Dialogue, Row, VlmRequest
from schemas import FRAME_KEY
from transforms.assess.escalation import EscalateParams
from transforms.brands.asking import BRAND_SCHEMA, AskCloudParams, BrandQuestion, brand_question, enlarged
from transforms.frames.frame_image import Clips
from transforms.frames.image import ImageParams


def _section(params: EscalateParams) -> str:
    return "ask_cloud" if isinstance(params, AskCloudParams) else "ask_local"


def check(params: EscalateParams) -> None:
    """Raise `UserError` with all that is wrong with what the calls need, unless the environment forbids to ask."""
    try:
        vlm_stage.check(params)
    except UserError as error:
        section = _section(params)
        raise UserError([line.replace("escalate.", f"{section}.") for line in error.problems]) from None


def sends_to(params: EscalateParams) -> str:
    """Return where the stage sends crops, with which key, and how that is prevented."""
    return vlm_stage.sends_to(params).replace("single frames", "single crops of frames")


def unasked(outcome: StageOutcome, params: EscalateParams) -> str | None:
    """Return a line on the frames with crops that have no answer, if there are any."""
    if outcome.left_over <= 0:
        return None
    section, why = _section(params), vlm_stage.skipped(params)
    reason = f"{why} is set" if why else f"no answer came, or {section}.max_usd was used up"
    return (
        f"{section}: brands stay open on {outcome.left_over:,} frames: {reason}; "
        f'the next run asks again (winnow sql "SELECT answers FROM {section.replace("ask", "asked")}")'
    )


class BrandCalls:
    """The questions of one run about crops whose brand is open, the largest and sharpest first.

    However the endpoint behaves, the run continues: what has no answer stays open, with the reason in its row.
    """

    def __init__(
        self,
        store: Store,
        stage: Stage,
        stages: Mapping[str, Stage],
        params: EscalateParams,
        _image: ImageParams,
        streams: Sequence[str],
        job_id: str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._stage = stage
        self._match = stage.upstream_of(schemas.MENTIONS)
        self._rectify = stages[schemas.RECTIFIED.written_by]
        self._earlier = next((s for s in stage.upstream if s.table == schemas.ASKED_LOCAL), None)
        self._params = params
        self._streams = frozenset(streams)
        self._job_id = job_id
        self._check = check
        self._crops: dict[str, bytes] = {}

    def survey(self) -> vlm_stage.CallSurvey:
        """Return on how many frames brands are open, and on how many of them crops have no answer yet."""
        requests = self._requests()
        answers = self._answers()
        missing = [each for each in requests if _is_open(answers, each)]
        return vlm_stage.CallSurvey(len(_frames(requests)), len(_frames(missing)))

    def open_frames(self) -> set[tuple[str, int]]:
        """Return the frames with crops that have no answer now, as (stream, number)."""
        answers = self._answers()
        return _frames([each for each in self._requests() if _is_open(answers, each)])

    def ask(self) -> tuple[int, list[Row]]:
        """Ask about what has no answer; return on how many frames all now have one. There are no faults of frames."""
        requests, answers = self._requests(), self._answers()
        before = _frames([each for each in requests if _is_open(answers, each)])
        kept = {each.part: answers[each.part] for each in requests if not _is_open(answers, each)}
        fresh: dict[str, Row] = {}
        forbidden = vlm_stage.skipped(self._params)
        round_ = CallRound(self._store, self._params, self._image_of, self._job_id, self._check, self._dialogue())
        why = f"{forbidden} is set" if forbidden else f"{self._stage.name}.max_usd is used up"
        open_ = [each for each in requests if each.part not in kept]
        try:
            if not forbidden:
                round_.ask(open_)
        except RunFailedError as error:
            why = str(error)
        finally:
            for request in open_:
                fresh[request.part] = self._answer(request, round_.came.get(request.key), why)
            self._write(requests, {**kept, **fresh})
        after = _frames([each for each in requests if _is_open({**kept, **fresh}, each)])
        return len(before - after), []

    def _dialogue(self) -> Dialogue:
        return Dialogue(
            self._stage.name,
            BRAND_SCHEMA,
            lambda text, asked: asked.read(text),
            lambda asked, _frame: asked.most_tokens(),
            lambda asked: [{"brands": list(asked.brands)}],
        )

    def _image_of(self, request: VlmRequest, _clips: Clips) -> bytes:
        return enlarged(self._crops[request.part], self._params.long_side)

    def _answer(self, request: VlmRequest, came: Row | OSError | None, why: str) -> Row:
        row: Row = {
            "region_id": request.part,
            "call_id": request.call_id,
            "state": "skipped",
            "brand": None,
            "why": why,
        }
        if isinstance(came, dict) and came["state"] == "done":
            assert came["after"] is not None
            assert isinstance(request.asked, BrandQuestion)
            answer = request.asked.read(came["after"])
            return row | {"state": "answered" if answer.sure else "unsure", "brand": answer.brand, "why": None}
        if came is not None:
            error = came["error"] or came["state"] if isinstance(came, dict) else came
            return row | {"state": "failed", "why": " ".join(str(error).split())[:300]}
        return row

    def _requests(self) -> list[VlmRequest]:
        columns = ("region_id", *FRAME_KEY, "state")
        mentions = pl.DataFrame(self._store.open(schemas.MENTIONS).read(columns, self._match.key, self._streams))
        regions = set(mentions.filter(state="unresolved")["region_id"]) - self._known_earlier()
        if not regions:
            return []
        names = ("region_id", *FRAME_KEY, "width_px", "height_px", "sharpness", "crop_hash", "image")
        # Crops of other frames are not read: there are many more of them.
        crops = pl.concat(
            [
                pl.DataFrame(pa.Table.from_batches([batch])).filter(pl.col("region_id").is_in(list(regions)))
                for batch in self._store.open(schemas.CROPS).batches(names, self._rectify.key, self._streams)
            ]
            or [pl.DataFrame(schema=dict.fromkeys(names, pl.Null))]
        )
        asked = brand_question(self._store.read(schemas.BRANDS, ("brand",))["brand"].to_pylist())
        model = self._params.model or ""
        found = []
        for row in sorted(
            crops.to_dicts(), key=lambda row: (-row["height_px"] * np.log1p(row["sharpness"]), row["region_id"])
        ):
            self._crops[row["region_id"]] = row["image"]
            frame = {name: row[name] for name in FRAME_KEY} | {"content_hash": row["crop_hash"]}
            found.append(VlmRequest(frame, asked, asked.call_id(model, row["crop_hash"]), row["region_id"]))
        return found

    def _known_earlier(self) -> set[str]:
        if self._earlier is None:
            return set()
        rows = self._store.open(self._earlier.table).read(("answers",), self._earlier.key, self._streams).to_pylist()
        return {each["region_id"] for row in rows for each in row["answers"] if each["state"] == "answered"}

    def _answers(self) -> dict[str, Row]:
        rows = self._store.open(self._stage.table).read(("answers",), self._stage.key, self._streams).to_pylist()
        return {each["region_id"]: each for row in rows for each in row["answers"]}

    def _write(self, requests: Sequence[VlmRequest], answers: Mapping[str, Row]) -> None:
        """Let the table have just these answers of the run's streams, unless it has them."""
        if answers == self._answers():
            return
        by_frame: dict[tuple[str, int], list[Row]] = {}
        for request in requests:
            by_frame.setdefault(request.key[:2], []).append(answers[request.part])
        rows = [
            {
                "input_id": _digest(said),
                "stream_id": stream,
                "frame_idx": number,
                "answers": said,
                "n_open": sum(each["state"] not in _ANSWERED for each in said),
            }
            for (stream, number), said in sorted(by_frame.items())
        ]
        table = pa.Table.from_pylist(rows, self._stage.table.file_schema)

        def change(_: object) -> Change:
            parts = [write_part(self._store.root, self._stage.table, table, {"stage_key": self._stage.key})]
            return Change(parts if rows else [], [Drop(self._stage.key, self._streams)])

        self._store.transact(self._stage.table, change, self._job_id)


_ANSWERED = frozenset({"answered", "unsure"})


def _is_open(answers: Mapping[str, Row], request: VlmRequest) -> bool:
    row = answers.get(request.part)
    return row is None or row["call_id"] != request.call_id or row["state"] not in _ANSWERED


def _frames(requests: Sequence[VlmRequest]) -> set[tuple[str, int]]:
    return {request.key[:2] for request in requests}


def _digest(answers: Sequence[Mapping[str, Any]]) -> int:
    """Return an id of the answers on a frame, so that what follows from them is computed again when they change."""
    said = repr(sorted((each["region_id"], each["state"], each["brand"]) for each in answers))
    return int.from_bytes(blake3(said.encode()).digest()[:8], "little", signed=True)
