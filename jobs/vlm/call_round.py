"""One round of questions to a vision language model: several under way, within a budget, none put twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Event

from jobs.core.errors import RunFailedError
from jobs.storage.store import Store
from jobs.vlm.redaction import key_of
from jobs.vlm.vlm_calls import BOXES, Budget, BudgetExhaustedError, Caller, Dialogue, Ledger, Row, VlmRequest
from jobs.vlm.vlm_clients import connect
from transforms.assess.escalation import EscalateParams
from transforms.frames.frame_image import Clips

_MAX_FAILURES = 3
_POLL_S = 0.2
_ENDED = frozenset({"done", "invalid"})


class CallRound:
    """One round of questions. `came` has for each of them what came of it: an entry of the ledger, or an error.

    Questions are put in order, at most `escalate.parallel` of them under way, each once what it could cost and the
    pace allow; a question that is under way for another frame is not put a second time.
    """

    def __init__(
        self,
        store: Store,
        params: EscalateParams,
        image_of: Callable[[VlmRequest, Clips], bytes],
        job_id: str,
        check: Callable[[], None],
        dialogue: Dialogue = BOXES,
    ) -> None:
        self.came: dict[tuple[str, int, str], Row | OSError] = {}
        self._params = params
        self._image_of = image_of
        self._dialogue = dialogue
        self._job_id = job_id
        self._check = check
        self._ledger = Ledger(store, job_id)
        self._budget = Budget(params.per_minute, params.max_usd, self._ledger.spent())
        self._stop = Event()
        self._enough = False
        self._failures = 0
        self._under_way: dict[Future[Row], VlmRequest] = {}
        self._caller: Caller | None = None

    def ask(self, requests: Sequence[VlmRequest]) -> None:
        """Ask about requests until that is enough. Raises `RunFailedError` where the endpoint refuses all requests."""
        with Clips() as clips, ThreadPoolExecutor(self._params.parallel) as pool:
            try:
                for request in requests:
                    if not self._put(request, pool, clips):
                        break
                while self._under_way:
                    self._take_in()
            finally:
                self._stop.set()
                for future, request in self._under_way.items():
                    with suppress(Exception):
                        self.came[request.key] = future.result()

    def _put(self, request: VlmRequest, pool: ThreadPoolExecutor, clips: Clips) -> bool:
        """Put a question as soon as that may be; return whether to continue with others."""
        self._check()
        twins = {each.call_id for each in self._under_way.values()}
        while request.call_id in twins or len(self._under_way) >= self._params.parallel:
            self._take_in()
            twins = {each.call_id for each in self._under_way.values()}
        if self._enough:
            return False
        entry = self._ledger.of(request.call_id)
        if entry is not None and entry["state"] in _ENDED and not self._may_go_on(entry):
            self._note(request, entry)
            return True
        caller = self._connected()
        try:
            jpeg = self._image_of(request, clips)
            number = self._budget.take(caller.may_cost(request), self._wait)
        except BudgetExhaustedError:
            return False
        except OSError as error:
            self.came[request.key] = error
            return True
        self._under_way[pool.submit(caller.ask, request, entry, jpeg, number)] = request
        return True

    def _take_in(self) -> None:
        """Wait until a question that is under way has come to an end, and note what came of it."""
        done: set[Future[Row]] = set()
        while not done:
            self._check()
            done, _ = wait(self._under_way, _POLL_S, FIRST_COMPLETED)
        for future in [each for each in self._under_way if each in done]:
            try:
                entry = future.result()
            except BudgetExhaustedError:
                del self._under_way[future]
                self._enough = True
                # Nor are others tried again.
                self._stop.set()
            else:
                self._note(self._under_way.pop(future), entry)

    def _note(self, request: VlmRequest, entry: Row) -> None:
        self.came[request.key] = entry
        self._failures = 0 if entry["state"] == "done" else self._failures + (entry["state"] == "failed")
        if self._failures >= _MAX_FAILURES:
            raise RunFailedError(f"stage {self._dialogue.stage}: the endpoint refuses all requests: {entry['error']}")

    def _may_go_on(self, entry: Row) -> bool:
        """Say whether a question without a valid answer had fewer than it may have."""
        return entry["state"] == "invalid" and entry["misfits"] < self._params.attempts

    def _connected(self) -> Caller:
        if self._caller is None:
            client = connect(self._params, key_of(self._params), self._dialogue.schema)
            self._caller = Caller(
                client, self._params, self._ledger, self._budget, self._job_id, self._stop, self._dialogue
            )
        return self._caller

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _POLL_S))
