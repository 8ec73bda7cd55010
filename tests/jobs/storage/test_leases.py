from __future__ import annotations

import time

import pytest

from jobs.core.processes import process_identity
from jobs.storage import leases
from jobs.storage.leases import Lease
from jobs.storage.locks import lock_at, lock_holder
from jobs.storage.paths import ObjectPath

ELSEWHERE = {"host": "elsewhere", "pid": 7}


def test_one_process_holds_it_until_it_lets_go(bucket: str) -> None:
    at = ObjectPath(f"{bucket}/a.lock")
    assert lock_holder(at) is None
    one, other = lock_at(at), lock_at(at)
    assert isinstance(one, Lease)
    assert one.take(ELSEWHERE)
    assert not other.take({"pid": 8})
    one.describe(ELSEWHERE | {"ready": True})
    assert lock_holder(at) == ELSEWHERE | {"ready": True}
    one.release()
    assert lock_holder(at) is None
    assert other.take({"pid": 8})
    other.release()


def test_a_process_that_has_ended_does_not_hold_it(bucket: str) -> None:
    at = ObjectPath(f"{bucket}/a.lock")
    dead, next_ = Lease(at), Lease(at)
    assert dead.take(process_identity() | {"pid": 2**22 + 1, "pid_started": "1"})
    assert lock_holder(at) is None
    assert next_.take(ELSEWHERE)
    # Should it be there after all, it finds out.
    dead._renew()
    assert dead.lost
    assert not next_.lost
    dead.release()
    assert lock_holder(at) == ELSEWHERE
    next_.release()


def test_who_falls_silent_loses_it(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ObjectPath(f"{bucket}/a.lock")
    monkeypatch.setattr(leases, "LASTS_S", 1.0)
    silent, next_ = Lease(at), Lease(at)
    assert silent.take(ELSEWHERE)
    deadline = time.monotonic() + 30
    while not next_.take({"pid": 8}):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    silent._renew()
    assert silent.lost
    silent.release()
    next_.release()


def test_who_renews_it_keeps_it(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ObjectPath(f"{bucket}/a.lock")
    monkeypatch.setattr(leases, "LASTS_S", 1.0)
    monkeypatch.setattr(leases, "_RENEWED_S", 0.1)
    kept = Lease(at)
    assert kept.take(ELSEWHERE)
    time.sleep(2.2)
    assert not Lease(at).take({"pid": 8})
    assert not kept.lost
    kept.release()
