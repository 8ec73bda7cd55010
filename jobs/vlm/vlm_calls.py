"""Questions to a vision language model, several at a time: paced, within a budget, every one of them put down."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from threading import Event, Lock
from typing import Any

import pyarrow as pa

import schemas
from jobs.core.errors import RunFailedError
from jobs.storage.store import Store
from jobs.vlm.redaction import Hiding
from jobs.vlm.vlm_clients import Client, EndpointError
from transforms.assess.escalation import EscalateParams, Question, most_tokens, read_answer

Row = dict[str, Any]
Wait = Callable[[float], None]
"""Waits so many seconds. Raises whatever ends the wait before."""

_POLL_S = 0.2
_MILLION = 1_000_000
_MOST_LETTERS = 301
_THEN = "; then no answer came: "


class EnoughError(Exception):
    """No more calls are to be made in this run; the next one goes on."""


@dataclass(frozen=True)
class Case:
    """A frame, the question about it, and the question's identity."""

    frame: Row
    asked: Question
    call_id: str


class Ledger:
    """What was asked and answered; every entry is durable when `put` returns. May be used by several threads."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._turn = Lock()
        self._rows: dict[str, Row] = {row["call_id"]: row for row in store.read(schemas.ESCALATIONS).to_pylist()}

    def of(self, call_id: str) -> Row | None:
        """Return what is known of a question."""
        with self._turn:
            return self._rows.get(call_id)

    def spent(self) -> float:
        """Return what this job has cost so far, in dollars."""
        with self._turn:
            return sum(row["cost_usd"] for row in self._rows.values() if row["job_id"] == self._job_id)

    def put(self, row: Row) -> None:
        """Put down what became of a question."""
        table = pa.Table.from_pylist([row], schemas.ESCALATIONS.arrow_schema)
        with self._turn:
            self._store.upsert(schemas.ESCALATIONS, table, self._job_id)
            self._rows[row["call_id"]] = row


def misfits(entry: Row) -> int:
    """Return how many answers to a question did not fit; an entry of an older version counts all that was asked."""
    known: int | None = entry["misfits"]
    if known is not None:
        return known
    return int(entry["attempts"]) if entry["state"] == "invalid" else 0


class Budget:
    """What may still be spent, in dollars, and when the next question may be put; for several threads.

    A question holds on to what it could cost at most until its cost is known, so that all that are under way together
    never cost more than is left.
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
        """Return the number of a question that may now be put, and may cost so much.

        Where that is too much while others are under way, these are waited for: they may cost less than they hold.
        Raises `EnoughError` where it is too much beside what was spent.
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
                    raise EnoughError
            wait(_POLL_S / 10)
        try:
            wait(at - now)
        except BaseException:
            self.settle(number, 0.0)
            raise
        return number

    def settle(self, number: int, usd: float) -> None:
        """Take note of what a question has cost."""
        with self._turn:
            self._held.pop(number)
            self._spent += usd


class Caller:
    """Puts questions to an endpoint, in as many threads as call it. `stop` ends all waiting between two attempts."""

    def __init__(
        self, client: Client, params: EscalateParams, ledger: Ledger, budget: Budget, job_id: str, stop: Event
    ) -> None:
        self._client = client
        self._params = params
        self._ledger = ledger
        self._budget = budget
        self._job_id = job_id
        self._stop = stop
        self._hide = Hiding(os.environ.get(params.key_name))

    def may_cost(self, case: Case) -> float:
        """Return the dollars that a question costs at most."""
        tokens = most_tokens(case.asked, case.frame["width"], case.frame["height"])
        return (tokens * self._params.usd_in + self._params.max_tokens * self._params.usd_out) / _MILLION

    def ask(self, case: Case, entry: Row | None, jpeg: bytes, number: int) -> Row:
        """Put a question until there is a valid answer, or it was put too often; every try is in the ledger.

        Only answers that did not fit are counted from one run to the next. `entry` is what the ledger has of it,
        `number` what the budget gave for the first try. Raises `EnoughError` where another try would have to wait too
        long or could cost too much, and `RunFailedError` where the endpoint refuses everybody.
        """
        # A call that nobody answered costs nothing, and is counted anew by each run.
        paid = entry if entry is not None and entry["state"] == "invalid" else None
        entry = paid | {"misfits": misfits(paid)} if paid else self._entry(case)
        for tries in count(1):
            entry, wait_s = self._try(case, entry, jpeg, number, tries)
            if wait_s is None:
                break
            self.wait(wait_s)
            number = self._budget.take(self.may_cost(case), self.wait)
        return entry

    def _try(self, case: Case, entry: Row, jpeg: bytes, number: int, tries: int) -> tuple[Row, float | None]:
        """Put a question once; return its entry, and after how many seconds to try again, None for not in this run.

        `tries`: how often this run has put it then.
        """
        started = time.monotonic()
        entry = entry | {"attempts": entry["attempts"] + 1, "asked_ns": time.time_ns(), "job_id": self._job_id}
        last = tries >= self._params.attempts
        cost = 0.0
        try:
            reply = self._client.ask(case.asked, jpeg)
            cost = (reply.tokens_in * self._params.usd_in + reply.tokens_out * self._params.usd_out) / _MILLION
        except EndpointError as error:
            if error.for_all:
                raise RunFailedError(f"stage escalate: the endpoint refuses: {error}") from None
            # An answer that was paid for and did not fit is not forgotten.
            told = {"state": "failed", "error": str(error)}
            if entry["misfits"]:
                told = {"state": "invalid", "error": _both((entry["error"] or "").split(_THEN)[0], str(error))}
            entry = self._put_down(entry | told | {"seconds": time.monotonic() - started})
            return entry, None if last or not error.again else self._pause(error.wait_s, tries)
        finally:
            self._budget.settle(number, cost)
        entry |= {
            "tokens_in": entry["tokens_in"] + reply.tokens_in,
            "tokens_out": entry["tokens_out"] + reply.tokens_out,
            "cost_usd": entry["cost_usd"] + cost,
            "seconds": time.monotonic() - started,
        }
        try:
            answer = read_answer(reply.text, case.asked)
        except ValueError as error:
            told = {"state": "invalid", "error": " ".join(str(error).split()), "misfits": entry["misfits"] + 1}
            entry = self._put_down(entry | told)
            last = last or entry["misfits"] >= self._params.attempts
            return entry, None if last else self._pause(None, tries)
        entry = self._put_down(entry | {"state": "done", "after": answer.model_dump_json(), "error": None})
        return entry, None

    def _put_down(self, entry: Row) -> Row:
        """Put an entry into the ledger, and return it as it is there: nothing from outside brings a key along.

        What an answer spells with escapes shows only once it is read.
        """
        outside = {name: entry[name] and self._hide(entry[name]) for name in ("error", "after")}
        outside["error"] = outside["error"] and outside["error"][:_MOST_LETTERS]
        entry = entry | outside
        self._ledger.put(entry)
        return entry

    def _pause(self, asked_s: float | None, tries: int) -> float:
        """Return how long to wait before the next attempt: as the endpoint asks, or longer from one to the next."""
        if asked_s is not None and asked_s > self._params.wait_s:
            raise EnoughError
        backoff = min(self._params.wait_s, 0.5 * 2 ** (tries - 1)) * random.uniform(0.5, 1)
        return backoff if asked_s is None else asked_s

    def wait(self, seconds: float) -> None:
        """Wait between two attempts. Raises `EnoughError` as soon as no more are wanted."""
        if self._stop.wait(max(0.0, seconds)):
            raise EnoughError

    def _entry(self, case: Case) -> Row:
        before = [{"annotation_id": n, **s} for n, s in zip(case.asked.ids, case.asked.shown, strict=True)]
        return {
            "call_id": case.call_id,
            **{name: case.frame[name] for name in (*schemas.FRAME_KEY, "content_hash")},
            "api": self._params.api,
            "model": self._params.model or "",
            "prompt_hash": case.asked.prompt_hash,
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
    """Return what did not fit and why no answer came later, each cut so that there is room for the other."""
    room = (_MOST_LETTERS - len(_THEN)) // 2
    return f"{misfit[:room]}{_THEN}{failure[:room]}"
