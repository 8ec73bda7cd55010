"""Requests that the document of the API allows, and many that it does not, made by schemathesis from a fixed seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.storage.workspace import Workspace
from tests.jobs.web.served import API, PROJECT, Site, served
from tests.waiting import PATIENCE_S


@pytest.mark.process
@pytest.mark.slow(80)
def test_no_request_makes_the_server_fail(tmp_path: Path, web_workspace: Workspace) -> None:
    """Every route of the document, also those that are added: those of a project are asked of one that has a run."""
    shutil.copytree(str(web_workspace.root), tmp_path / "root" / PROJECT)
    with served(tmp_path / "root") as site:
        (stream, *_) = site.client("root").get(f"{API}/projects/{PROJECT}/streams").json()["streams"]
        (job, *_) = site.client("root").get(f"{API}/projects/{PROJECT}/jobs").json()["jobs"]
        known = {"path.project": PROJECT, "query.stream": stream["stream_id"], "path.job_id": job["job_id"]}
        lines = "".join(f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in known.items())
        # That methods which a route does not have are refused is tested with the table of roles.
        phases = "[phases.coverage]\nunexpected-methods = []\n"
        (tmp_path / "schemathesis.toml").write_text(f"{phases}[parameters]\n{lines}", encoding="utf-8")
        cookie = site.client("root").headers["cookie"]
        # Ending the session that asks would leave nothing to find out; a gateway would outlive the test.
        kept_out = "session|/me|users/|events|gateway"
        done = _schemathesis(site, tmp_path, ["-H", f"Cookie: {cookie}", "--exclude-path-regex", kept_out])
        assert done.returncode == 0, done.stdout[-6000:]
        assert site.client("root").get(f"{API}/me").status_code == 200
        # Some of what was made up was right, and so reached the project.
        jobs = site.client("root").get(f"{API}/projects/{PROJECT}/jobs").json()["jobs"]
        assert {"select", "release", "export"} & {each["kind"] for each in jobs}
        nobody = _schemathesis(site, tmp_path, ["--include-path-regex", "session|/me|users/|invitations"])
        assert nobody.returncode == 0, nobody.stdout[-6000:]


def _schemathesis(site: Site, folder: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("schemathesis")
    words = ["run", f"{site.url}{API}/openapi.json", "--checks", "not_a_server_error", "--seed", "7"]
    words += ["--max-examples", "3", "--phases", "examples,coverage,fuzzing", "--no-color", "--request-timeout", "60"]
    return subprocess.run(
        [program, *words, "-H", f"Origin: {site.url}", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
    )
