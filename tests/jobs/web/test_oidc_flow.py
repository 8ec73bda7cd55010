from __future__ import annotations

import time

import pytest

from jobs.web.oidc_flow import LASTS_S, Flow


def test_a_try_ends_after_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow.begin("sign_in")
    assert Flow.of_cookie(flow.cookie, "sign_in") == flow
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LASTS_S + 1)
    assert Flow.of_cookie(flow.cookie, "sign_in") is None
    for cookie in ("", ".", "1.", "x.y", "-1.x", f"{int(now)}.{'x' * 5000}", "٣.x", f"{int(now)}.x.é", f"{int(now)}.x"):
        assert Flow.of_cookie(cookie, "sign_in") is None
