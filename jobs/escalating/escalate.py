"""Asks a vision language model about the frames that are routed to it; what was paid for is never asked again."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

import schemas
from conf import PipelineConfig
from jobs.errors import RunFailedError
from jobs.escalating.clients import Client, EndpointError, connect
from jobs.runs import RunRecord, StageOutcome
from jobs.stage import Stage
from jobs.storage.parts import write_part
from jobs.storage.quarantine import settle
from jobs.storage.store import Change, Drop, Store
from transforms.escalation import EscalateParams, Question, as_jpeg, most_tokens, question, read_answer
from transforms.image import ImageParams
from transforms.pictures import Clips, picture

_KEY = list(schemas.FRAME_KEY)
_HOPELESS = 3
_POLL_S = 0.2
_MILLION = 1_000_000
_ENDED = frozenset({"done", "invalid"})

Row = dict[str, Any]


def skipped(params: EscalateParams) -> str | None:
    """Return which variable of the environment forbids to ask, if one does."""
    if os.environ.get("SKIP_VLM", "") not in {"", "0"}:
        return "SKIP_VLM"
    forbidden = os.environ.get("SKIP_CLOUD", "") not in {"", "0"}
    return "SKIP_CLOUD" if forbidden and not params.is_local else None


def unasked(record: RunRecord) -> str | None:
    """Return a line on the frames that a run did not ask about although they were routed to the model, if there are."""
    done = record.outcomes.get("escalate")
    left = done.frames_in - done.computed - done.reused - done.quarantined if done else 0
    if left <= 0:
        return None
    why = skipped(record.config.escalate)
    reason = f"{why} is set" if why else "escalate.max_usd, or the endpoint's patience, was used up; run again to go on"
    return f"the model was not asked about {left:,} frames: {reason}"


@dataclass(frozen=True)
class _Case:
    """A frame, the question about it, and the question's identity."""

    frame: Row
    asked: Question
    call_id: str


class Escalation:
    """The stage `escalate` of one run, over its streams. `check` is called between calls and may end the run there."""

    def __init__(
        self,
        store: Store,
        stages: Sequence[Stage],
        config: PipelineConfig,
        streams: Sequence[str],
        job_id: str,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._stages = stages
        self._stage = next(s for s in stages if s.name == "escalate")
        self._annotate = next(s for s in stages if s.name == "annotate")
        self._params = config.escalate
        self._model = config.escalate.model or ""
        self._image = config.image
        self._streams = frozenset(streams)
        self._job_id = job_id
        self._check = check
        self._called_at = -1e9
        self._spent = 0.0

    def survey(self) -> tuple[int, int]:
        """Return how many frames are routed to the model, and of how many it has not been asked yet."""
        routed = self._routed()
        cases = list(self._cases(routed))
        answered = self._answered()
        return len(cases), sum(answered.get(_place(c.frame), {}).get("call_id") != c.call_id for c in cases)

    def run(self, told: Callable[[int], None], outcome: StageOutcome, earlier: StageOutcome) -> None:
        """Ask about what is open, and put down what came of it, also where the run is ended in between.

        Raises `RunFailedError` where the endpoint answers nobody.
        """
        started = time.monotonic()
        routed = self._routed()
        cases = list(self._cases(routed))
        answered = self._answered()
        # What was said stays for as long as the question would be the same, whoever is routed where by now.
        others = self._cases([row for key, row in self._frames(list(answered)).items() if key not in _places(routed)])
        same = [case for case in (*cases, *others) if _call_of(answered, case) == case.call_id]
        kept = [answered[_place(case.frame)] for case in same]
        open_ = [case for case in cases if _call_of(answered, case) != case.call_id]
        told(len(open_))
        fresh: list[Row] = []
        faults: list[Row] = []
        try:
            if not skipped(self._params):
                self._ask_all(open_, fresh, faults)
        finally:
            if fresh or len(kept) < len(answered):
                self._write([*kept, *fresh])
        held = settle(self._store, list(self._stages), sorted(self._streams), faults, self._job_id)
        outcome.frames_in = len(cases)
        outcome.computed = earlier.computed + len(fresh)
        outcome.reused = max(0, len(cases) - len(open_) - earlier.computed)
        outcome.quarantined = held.get(self._stage.name, 0)
        outcome.seconds = earlier.seconds + time.monotonic() - started
        outcome.state = "done"

    def _ask_all(self, cases: Sequence[_Case], fresh: list[Row], faults: list[Row]) -> None:
        ledger = _Ledger(self._store, self._job_id)
        self._spent = ledger.spent()
        client: Client | None = None
        failures = 0
        with Clips() as clips:
            for case in cases:
                self._check()
                entry = ledger.of(case.call_id)
                if entry is None or entry["state"] not in _ENDED or self._may_go_on(entry):
                    client = client or connect(self._params, os.environ.get(self._params.key_name))
                    try:
                        entry = self._ask(client, case, entry, ledger, clips)
                    except _EnoughError:
                        return
                    except OSError as error:
                        faults.append(_fault(case, error))
                        continue
                if entry["state"] == "done":
                    failures = 0
                    fresh.append(self._row(case, entry))
                    continue
                faults.append(_fault(case, entry["error"] or entry["state"]))
                failures += entry["state"] == "failed"
                if failures >= _HOPELESS:
                    raise RunFailedError(f"stage escalate: the endpoint answers nobody: {entry['error']}")

    def _may_go_on(self, entry: Row) -> bool:
        """Say whether a question that had no valid answer was put less often than it may be."""
        return entry["state"] == "invalid" and entry["attempts"] < self._params.attempts

    def _ask(self, client: Client, case: _Case, entry: Row | None, ledger: _Ledger, clips: Clips) -> Row:
        """Put a question until there is a valid answer, or there was none too often; every try is in the ledger."""
        jpeg = _shown(case, self._params.long_side, self._image, clips)
        # A call that nobody answered costs nothing, and is counted anew by each run.
        paid = entry if entry is not None and entry["state"] == "invalid" else None
        entry = paid or self._entry(case)
        while True:
            self._keep_pace(case)
            started = time.monotonic()
            entry = entry | {"attempts": entry["attempts"] + 1, "asked_ns": time.time_ns(), "job_id": self._job_id}
            wait_s: float | None = None
            try:
                reply = client.ask(case.asked, jpeg)
            except EndpointError as error:
                if error.for_all:
                    raise RunFailedError(f"stage escalate: the endpoint refuses: {error}") from None
                # An answer that was paid for and did not fit is not forgotten.
                state = "invalid" if paid or entry["tokens_in"] else "failed"
                entry |= {"state": state, "error": str(error), "seconds": time.monotonic() - started}
                ledger.put(entry)
                if not error.again or entry["attempts"] >= self._params.attempts:
                    return entry
                wait_s = error.wait_s
            else:
                cost = (reply.tokens_in * self._params.usd_in + reply.tokens_out * self._params.usd_out) / _MILLION
                self._spent += cost
                entry |= {
                    "tokens_in": entry["tokens_in"] + reply.tokens_in,
                    "tokens_out": entry["tokens_out"] + reply.tokens_out,
                    "cost_usd": entry["cost_usd"] + cost,
                    "seconds": time.monotonic() - started,
                }
                try:
                    answer = read_answer(reply.text, case.asked)
                except ValueError as error:
                    entry |= {"state": "invalid", "error": " ".join(str(error).split())[:300]}
                    ledger.put(entry)
                    if entry["attempts"] >= self._params.attempts:
                        return entry
                else:
                    entry |= {"state": "done", "after": answer.model_dump_json(), "error": None}
                    ledger.put(entry)
                    return entry
            self._wait(wait_s, entry["attempts"])

    def _keep_pace(self, case: _Case) -> None:
        """Wait until the next call may be made. Raises `_EnoughError` if it could cost more than may be spent."""
        frame = case.frame
        tokens = most_tokens(case.asked, frame["width"], frame["height"])
        cost = (tokens * self._params.usd_in + self._params.max_tokens * self._params.usd_out) / _MILLION
        if self._spent + cost > self._params.max_usd:
            raise _EnoughError
        self._sleep(self._called_at + 60 / self._params.per_minute - time.monotonic())
        self._called_at = time.monotonic()

    def _wait(self, asked_s: float | None, attempts: int) -> None:
        """Wait before the next attempt: as long as the endpoint asks, or longer from one to the next."""
        if asked_s is not None and asked_s > self._params.wait_s:
            raise _EnoughError
        backoff = min(self._params.wait_s, 0.5 * 2 ** (attempts - 1)) * random.uniform(0.5, 1)
        self._sleep(backoff if asked_s is None else asked_s)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _POLL_S))

    def _entry(self, case: _Case) -> Row:
        return {
            "call_id": case.call_id,
            **{name: case.frame[name] for name in (*_KEY, "content_hash")},
            "api": self._params.api,
            "model": self._model,
            "prompt_hash": case.asked.prompt_hash,
            "attempts": 0,
            "tokens_in": 0,
            "tokens_out": 0,
            "cost_usd": 0.0,
            "seconds": 0.0,
            "before": json.dumps(
                [{"annotation_id": n, **s} for n, s in zip(case.asked.ids, case.asked.shown, strict=True)]
            ),
            "after": None,
            "error": None,
        }

    def _row(self, case: _Case, entry: Row) -> Row:
        answer = read_answer(entry["after"], case.asked)
        return {
            "input_id": case.frame["input_id"],
            **{name: case.frame[name] for name in _KEY},
            "call_id": case.call_id,
            "verdicts": case.asked.verdicts(answer),
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
        """Return the frames that are routed to the model, the most doubtful first."""
        route = self._stage.upstream[0]
        rows = self._store.open(schemas.ROUTING).read((*_KEY, "route", "uncertainty"), route.key, self._streams)
        chosen = pl.DataFrame(rows).filter(route="vlm").sort("uncertainty", *_KEY, descending=[True, False, False])
        frames = self._frames([(stream, number) for stream, number in chosen.select(_KEY).iter_rows()])
        return [frames[key] for key in chosen.select(_KEY).iter_rows() if key in frames]

    def _frames(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Row]:
        if not keys:
            return {}
        frames = next(s for s in self._stages if s.name == "frames")
        columns = (*_KEY, "uri", "input_id", "content_hash", "width", "height", "status")
        numbers = [number for _, number in keys]
        span = (min(numbers), max(numbers) + 1)
        streams = frozenset(stream for stream, _ in keys)
        rows = pl.DataFrame(self._store.open(schemas.FRAMES).read(columns, frames.key, streams, span))
        wanted = frozenset(keys)
        found = rows.filter(pl.col("status") == "ok").iter_rows(named=True)
        return {_place(row): row for row in found if _place(row) in wanted}

    def _cases(self, frames: Sequence[Row]) -> Iterator[_Case]:
        if not frames:
            return
        streams = frozenset(row["stream_id"] for row in frames)
        numbers = [row["frame_idx"] for row in frames]
        span = (min(numbers), max(numbers) + 1)
        columns = ("annotation_id", *_KEY, "category", "score", "bbox_x", "bbox_y", "bbox_w", "bbox_h")
        rows = self._store.open(schemas.ANNOTATIONS).read(columns, self._annotate.key, streams, span)
        objects: dict[tuple[str, int], list[Row]] = {}
        for row in rows.to_pylist():
            objects.setdefault(_place(row), []).append(row)
        names: Sequence[str] = self._annotate.params.get("annotate.names") or sorted(set(rows["category"].to_pylist()))
        for frame in frames:
            size = (frame["width"], frame["height"])
            asked = question(objects.get(_place(frame), []), names, *size, self._params.long_side)
            yield _Case(frame, asked, asked.call_id(self._model, frame["content_hash"]))


class _EnoughError(Exception):
    """No more calls are to be made in this run; the next one goes on."""


class _Ledger:
    """What was asked and answered; every entry is durable when `put` returns."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._rows: dict[str, Row] = {row["call_id"]: row for row in store.read(schemas.ESCALATIONS).to_pylist()}

    def of(self, call_id: str) -> Row | None:
        return self._rows.get(call_id)

    def spent(self) -> float:
        """Return what this job has cost so far, in dollars."""
        return sum(row["cost_usd"] for row in self._rows.values() if row["job_id"] == self._job_id)

    def put(self, row: Row) -> None:
        self._rows[row["call_id"]] = row
        table = pa.Table.from_pylist([row], schemas.ESCALATIONS.arrow_schema)
        self._store.upsert(schemas.ESCALATIONS, table, self._job_id)


def _shown(case: _Case, long_side: int, params: ImageParams, clips: Clips) -> bytes:
    """Return the picture of a frame as JPEG. Raises `OSError` where it cannot be read, or is not what it was."""
    frame = picture(case.frame["uri"], None, params, clips)
    if frame.content() != case.frame["input_id"]:
        raise OSError(f"{case.frame['uri']} has changed since it was measured; run its stream again")
    return as_jpeg(frame.color(), long_side)


def _fault(case: _Case, error: object) -> Row:
    kind = type(error).__name__ if isinstance(error, Exception) else "NoAnswer"
    told = {"stage": "escalate", "error_type": kind, "error": " ".join(str(error).split())}
    return {name: case.frame[name] for name in (*_KEY, "uri")} | told


def _place(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["stream_id"], row["frame_idx"]


def _places(rows: Sequence[Row]) -> frozenset[tuple[str, int]]:
    return frozenset(map(_place, rows))


def _call_of(answered: Mapping[tuple[str, int], Row], case: _Case) -> str | None:
    row = answered.get(_place(case.frame))
    return row["call_id"] if row else None
