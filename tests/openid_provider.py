"""An OpenID provider as a process of the tests, and what a browser does there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.waiting import PATIENCE_S

CLIENT, SECRET = "winnow-tests", "planted-secret-of-the-client/+ %"


@dataclass
class ProviderProcess:
    """A provider that runs; `issuer` is its address."""

    issuer: str

    def control(self, **what: Any) -> None:
        """Have it do wrong things from now on, and nothing else that is wrong."""
        httpx.post(f"{self.issuer}/control", json=what, timeout=PATIENCE_S).raise_for_status()

    def seen(self) -> dict[str, Any]:
        """Return how often each address was asked, and the last request for a token."""
        found: dict[str, Any] = httpx.get(f"{self.issuer}/seen", timeout=PATIENCE_S).json()
        return found

    def way_back(self, address: str, subject: str) -> dict[str, str]:
        """Sign in at an address as a browser does, and return what the provider sends back with."""
        with httpx.Client(timeout=PATIENCE_S) as browser:
            assert "Who are you" in browser.get(address).text
            answer = browser.post(address, data={"subject": subject})
        assert answer.status_code == 302, answer.text
        return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@contextmanager
def provider_process() -> Iterator[ProviderProcess]:
    """Run a provider at any free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.openid_server"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        found = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        yield ProviderProcess(found[0])
    finally:
        process.kill()
        process.communicate()
