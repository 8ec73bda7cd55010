"""Calls of a vision language model: concurrent, rate-limited, within a budget, each recorded in the ledger."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from threading import Event, Lock
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

import schemas
from jobs.core.errors import RunFailedError
from jobs.storage.store import Store
from jobs.vlm.redaction import key_of, redaction_of
from jobs.vlm.vlm_clients import Asked, Client, EndpointError, Reply
from transforms.assess.escalation import SCHEMA, EscalateParams, most_tokens, read_answer

Row = dict[str, Any]
Wait = Callable[[float], None]
"""Waits this many seconds. Raises an exception to end the wait early."""

_POLL_S = 0.2
_MILLION = 1_000_000
_MOST_LETTERS = 301
_THEN = "; then no answer came: "


class BudgetExhaustedError(Exception):
    """No more calls are made in this run; the next run continues."""


@dataclass(frozen=True)
class VlmRequest:
    """A frame, the prompt about it or the part of it that is named, and the id of the call."""

    frame: Row
    asked: Asked
    call_id: str
    part: str = ""

    @property
    def key(self) -> tuple[str, int, str]:
        """Return what the question is about: stream, frame and part."""
        return self.frame["stream_id"], self.frame["frame_idx"], self.part


@dataclass(frozen=True)
class Dialogue:
    """How questions of one kind are sent, read and recorded.

    `schema`: of answers. `read` returns a valid answer, or raises `ValueError` with what is wrong. `most_tokens`: an
    upper estimate of the tokens of a prompt with its image, given its frame. `before`: what the ledger records of it.
    """

    stage: str
    schema: Mapping[str, Any]
    read: Callable[[str, Any], BaseModel]
    most_tokens: Callable[[Any, Row], float]
    before: Callable[[Any], list[Row]]


BOXES = Dialogue(
    "escalate",
    SCHEMA,
    read_answer,
    lambda asked, frame: most_tokens(asked, frame["width"], frame["height"]),
    lambda asked: [{"annotation_id": n, **s} for n, s in zip(asked.ids, asked.shown, strict=True)],
)
"""Questions about the boxes of a frame."""


class Ledger:
    """The record of all calls, durable when `put` returns. Thread-safe."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._turn = Lock()
        self._rows: dict[str, Row] = {row["call_id"]: row for row in store.read(schemas.ESCALATIONS).to_pylist()}

    def of(self, call_id: str) -> Row | None:
        """Return the entry of a call, or None."""
        with self._turn:
            return self._rows.get(call_id)

    def spent(self) -> float:
        """Return the cost of this job so far, in dollars."""
        with self._turn:
            return sum(row["cost_usd"] for row in self._rows.values() if row["job_id"] == self._job_id)

    def put(self, row: Row) -> None:
        """Record the state of a call."""
        table = pa.Table.from_pylist([row], schemas.ESCALATIONS.arrow_schema)
        with self._turn:
            self._store.upsert(schemas.ESCALATIONS, table, self._job_id)
            self._rows[row["call_id"]] = row


class Budget:
    """The remaining budget in dollars, and the time of the next call. Thread-safe.

    A call reserves its largest possible cost until its cost is known, so that concurrent calls together never exceed
    the budget.
    """

    def __init__(self, per_minute: float, max_usd: float, spent: float) -> None:
        self._apart_s = 60 / per_minute
        self._max_usd = max_usd
        self._spent = spent
        self._held: dict[int, float] = {}
        self._numbers = count()
        self._next_at = 0.0
        self._turn = Lock()

    def take(self, usd: float, wait: Wait) -> int:
        """Reserve this cost, wait for the call's turn, and return the number of the reservation.

        If the cost exceeds the budget only because of concurrent calls, it waits for these: they may cost less than
        reserved. Raises `BudgetExhaustedError` if the remaining budget is too small.
        """
        while True:
            with self._turn:
                if self._spent + sum(self._held.values()) + usd <= self._max_usd:
                    number = next(self._numbers)
                    self._held[number] = usd
                    now = time.monotonic()
                    at = max(now, self._next_at)
                    self._next_at = at + self._apart_s
                    break
                if self._spent + usd > self._max_usd or not self._held:
                    raise BudgetExhaustedError
            wait(_POLL_S / 10)
        try:
            wait(at - now)
        except BaseException:
            self.settle(number, 0.0)
            raise
        return number

    def settle(self, number: int, usd: float) -> None:
        """Replace a reservation by the actual cost."""
        with self._turn:
            self._held.pop(number)
            self._spent += usd


class Caller:
    """Calls an endpoint from several threads. `stop` ends all waiting between two attempts."""

    def __init__(
        self,
        client: Client,
        params: EscalateParams,
        ledger: Ledger,
        budget: Budget,
        job_id: str,
        stop: Event,
        dialogue: Dialogue = BOXES,
    ) -> None:
        self._dialogue = dialogue
        self._client = client
        self._params = params
        self._ledger = ledger
        self._budget = budget
        self._job_id = job_id
        self._stop = stop
        self._hide = redaction_of(key_of(params))

    def may_cost(self, request: VlmRequest) -> float:
        """Return the largest possible cost of a call, in dollars."""
        tokens = self._dialogue.most_tokens(request.asked, request.frame)
        return (tokens * self._params.usd_in + self._params.max_tokens * self._params.usd_out) / _MILLION

    def ask(self, request: VlmRequest, entry: Row | None, jpeg: bytes, number: int) -> Row:
        """Call until there is a valid answer or the attempts are used up; every attempt is recorded in the ledger.

        Only invalid answers are counted over several runs. `entry` is the ledger's entry, `number` the budget's
        reservation for the first attempt. Raises `BudgetExhaustedError` if another attempt would have to wait too long
        or could cost too much, and `RunFailedError` if the endpoint refuses all calls.
        """
        # An unanswered call costs nothing, and is not counted from one run to the next.
        paid = entry if entry is not None and entry["state"] == "invalid" else None
        entry = paid or self._entry(request)
        for tries in count(1):
            entry, wait_s = self._try(request, entry, jpeg, number, tries)
            if wait_s is None:
                break
            self.wait(wait_s)
            number = self._budget.take(self.may_cost(request), self.wait)
        return entry

    def _try(self, request: VlmRequest, entry: Row, jpeg: bytes, number: int, tries: int) -> tuple[Row, float | None]:
        """Make one attempt; return its entry, and the seconds to wait before the next one, None for no further attempt.

        `tries` is the number of attempts of this run, this one included.
        """
        started = time.monotonic()
        entry = entry | {"attempts": entry["attempts"] + 1, "asked_ns": time.time_ns(), "job_id": self._job_id}
        last = tries >= self._params.attempts
        cost = 0.0
        try:
            reply = self._client.ask(request.asked, jpeg)
            tokens_in, tokens_out = self._counted(request, reply)
            cost = (tokens_in * self._params.usd_in + tokens_out * self._params.usd_out) / _MILLION
        except EndpointError as error:
            if error.for_all:
                raise RunFailedError(f"stage {self._dialogue.stage}: the endpoint refuses: {error}") from None
            # Keep the record of an earlier invalid answer, which was paid for.
            outcome = {"state": "failed", "error": str(error)}
            if entry["misfits"]:
                outcome = {"state": "invalid", "error": _both((entry["error"] or "").split(_THEN)[0], str(error))}
            entry = self._store(entry | outcome | {"seconds": time.monotonic() - started})
            return entry, None if last or not error.again else self._pause(error.wait_s, tries)
        finally:
            self._budget.settle(number, cost)
        entry |= {
            "tokens_in": entry["tokens_in"] + tokens_in,
            "tokens_out": entry["tokens_out"] + tokens_out,
            "cost_usd": entry["cost_usd"] + cost,
            "seconds": time.monotonic() - started,
        }
        try:
            answer = self._dialogue.read(reply.text, request.asked)
        except ValueError as error:
            outcome = {"state": "invalid", "error": " ".join(str(error).split()), "misfits": entry["misfits"] + 1}
            entry = self._store(entry | outcome)
            last = last or entry["misfits"] >= self._params.attempts
            return entry, None if last else self._pause(None, tries)
        entry = self._store(entry | {"state": "done", "after": answer.model_dump_json(), "error": None})
        return entry, None

    def _counted(self, request: VlmRequest, reply: Reply) -> tuple[int, int]:
        """Return the tokens of a call; the most that there can be where the endpoint's count cannot be believed."""
        most = self._dialogue.most_tokens(request.asked, request.frame)
        tokens_in = math.ceil(most) if reply.tokens_in is None else reply.tokens_in
        return tokens_in, self._params.max_tokens if reply.tokens_out is None else reply.tokens_out

    def _store(self, entry: Row) -> Row:
        """Record an entry in the ledger, and return it as recorded, without keys in the texts of the endpoint.

        Keys in escaped characters of an answer show only after parsing.
        """
        outside = {name: entry[name] and self._hide(entry[name]) for name in ("error", "after")}
        outside["error"] = outside["error"] and outside["error"][:_MOST_LETTERS]
        entry = entry | outside
        self._ledger.put(entry)
        return entry

    def _pause(self, asked_s: float | None, tries: int) -> float:
        """Return the wait before the next attempt: what the endpoint asks for, or an exponential backoff."""
        if asked_s is not None and asked_s > self._params.wait_s:
            raise BudgetExhaustedError
        backoff = min(self._params.wait_s, 0.5 * 2 ** (tries - 1)) * random.uniform(0.5, 1)
        return backoff if asked_s is None else asked_s

    def wait(self, seconds: float) -> None:
        """Wait between two attempts. Raises `BudgetExhaustedError` as soon as the run stops."""
        if self._stop.wait(max(0.0, seconds)):
            raise BudgetExhaustedError

    def _entry(self, request: VlmRequest) -> Row:
        before = self._dialogue.before(request.asked)
        return {
            "call_id": request.call_id,
            **{name: request.frame[name] for name in (*schemas.FRAME_KEY, "content_hash")},
            "api": self._params.api,
            "model": self._params.model or "",
            "prompt_hash": request.asked.prompt_hash,
            "attempts": 0,
            "tokens_in": 0,
            "tokens_out": 0,
            "cost_usd": 0.0,
            "seconds": 0.0,
            "before": json.dumps(before),
            "after": None,
            "error": None,
            "misfits": 0,
        }


def _both(misfit: str, failure: str) -> str:
    """Return the message of the invalid answer and that of the later failure, truncated to fit together."""
    room = (_MOST_LETTERS - len(_THEN)) // 2
    return f"{misfit[:room]}{_THEN}{failure[:room]}"
