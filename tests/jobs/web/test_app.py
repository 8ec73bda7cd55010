"""Requests that the document of the API allows, and many that it does not, made by schemathesis from a fixed seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.web.served import API, Site, served
from tests.waiting import PATIENCE_S


@pytest.mark.process
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    with served(tmp_path / "root") as site:
        cookie = site.client("root").headers["cookie"]
        # Ending the session that asks would leave nothing to find out; a gateway would outlive the test.
        kept_out = "session|/me|users/|events|gateway"
        done = _schemathesis(site, tmp_path, ["-H", f"Cookie: {cookie}", "--exclude-path-regex", kept_out])
        assert done.returncode == 0, done.stdout[-6000:]
        assert site.client("root").get(f"{API}/me").status_code == 200
        nobody = _schemathesis(site, tmp_path, ["--include-path-regex", "session|/me|users/|invitations"])
        assert nobody.returncode == 0, nobody.stdout[-6000:]


def _schemathesis(site: Site, folder: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("schemathesis")
    words = ["run", f"{site.url}{API}/openapi.json", "--checks", "not_a_server_error", "--seed", "7"]
    words += ["--max-examples", "6", "--phases", "examples,coverage,fuzzing", "--no-color", "--request-timeout", "60"]
    return subprocess.run(
        [program, *words, "-H", f"Origin: {site.url}", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
    )
