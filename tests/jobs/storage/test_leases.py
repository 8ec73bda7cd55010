from __future__ import annotations

import pytest

from jobs.core.processes import process_identity
from jobs.storage import leases
from jobs.storage.leases import Lease
from jobs.storage.locks import lock_at, lock_holder
from jobs.storage.paths import ObjectPath
from tests.waiting import wait_until

ELSEWHERE = {"host": "elsewhere", "pid": 7}


def test_a_lease_has_one_holder_until_it_is_released(bucket: str) -> None:
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


def test_a_lock_of_an_ended_process_is_free(bucket: str) -> None:
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


def test_a_lease_that_is_not_renewed_is_lost(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ObjectPath(f"{bucket}/a.lock")
    monkeypatch.setattr(leases, "LASTS_S", 1.0)
    silent, next_ = Lease(at), Lease(at)
    assert silent.take(ELSEWHERE)
    wait_until(lambda: next_.take({"pid": 8}), "the lease stayed with who is silent", every_s=0.2)
    silent._renew()
    assert silent.lost
    silent.release()
    next_.release()


def renewed_s(at: ObjectPath) -> float:
    found = leases._read(at)
    assert found is not None
    return found.renewed_s


def test_a_renewed_lease_is_kept(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = ObjectPath(f"{bucket}/a.lock")
    # Fifty times as often as it has to be.
    monkeypatch.setattr(leases, "LASTS_S", 5.0)
    monkeypatch.setattr(leases, "_RENEWED_S", 0.1)
    kept = Lease(at)
    assert kept.take(ELSEWHERE)
    began = renewed_s(at)
    wait_until(lambda: renewed_s(at) > began + leases.LASTS_S, "it was not renewed", every_s=0.2)
    assert not Lease(at).take({"pid": 8})
    assert not kept.lost
    kept.release()
