"""A server that is killed at random moments while programs write and a job runs.

`WINNOW_SERVER_KILLS` says how often, `WINNOW_FAULT_SEED` when; `make faults` kills it fifty times and prints how long
each start took.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from jobs.dispatch.daemon import stop
from jobs.dispatch.gateway_files import lock_path
from jobs.storage.locks import lock_holder
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.faults.servers import API, OTHER, PROJECT, Server, Writers, check_all, wait_for_each, wait_for_more
from tests.faults.trial import SEED
from tests.helpers import assert_one_live_row, write_noise_stream
from tests.waiting import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

KILLS = int(os.environ.get("WINNOW_SERVER_KILLS", "3"))
_SMALL = ("unit_frames=4", "resources.block_frames=4", "resources.commit_seconds=0.05")
_N = 200


def test_nothing_that_was_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in (PROJECT, OTHER):
        Workspace.at(root / name).create()
    stream = write_noise_stream(tmp_path / "cam", range(_N))
    chance = random.Random(SEED)
    server = Server(root)
    starts = [server.start()]
    with server.client() as client:
        made = client.post(f"{API}/users", json={"name": "jane", "password": "a sound of many waters"})
        jane = made.json()["user_id"]
        # What the server starts outlives it.
        assert client.post(f"{API}/projects/{PROJECT}/gateway/start").status_code == 200
        options = {"inputs": [str(stream)], "settings": _SMALL}
        submitted = client.post(f"{API}/projects/{PROJECT}/jobs", json={"options": options})
        assert submitted.status_code == 201, submitted.text
        job = f"{API}/projects/{PROJECT}/jobs/{submitted.json()['job_id']}"
    writers = Writers(server, jane, stream)
    try:
        for n in range(KILLS):
            # Half of them as soon as it writes again, or before; half of them later.
            if n % 2:
                wait_for_more(writers, chance.randint(1, 20))
            if n % 4 == 3:
                wait_for_each(writers)
            time.sleep(chance.uniform(0, 0.3))
            server.kill()
            starts.append(server.start())
        wait_for_more(writers, 20)
        writers.stop()
        with server.client() as client:
            check_all(writers, client, root)
            wait_until(lambda: client.get(job).json()["state"] in {"done", "failed"}, every_s=0.2)
            found = client.get(job).json()
            assert (found["state"], found["frames"]) == ("done", _N), found
            assert_one_live_row(Workspace.at(root / PROJECT))
            assert client.post(f"{API}/projects/{PROJECT}/gateway/stop").status_code == 200
    finally:
        writers.stop()
        server.kill()
        # What it starts outlives it, and a test that fails.
        if lock_holder(lock_path(place(root / PROJECT))):
            stop(place(root / PROJECT))
    counts = {kind: (len(each.acknowledged), len(each.unanswered)) for kind, each in writers.ledgers.items()}
    walls, cpus = sorted(each.wall_s for each in starts), sorted(each.cpu_s for each in starts)
    sys.stdout.write(
        f"seed {SEED}: killed {KILLS} times; (acknowledged, unanswered): {counts}; serving again after "
        f"{walls[len(walls) // 2]:.2f} s (median), {walls[-1]:.2f} s (longest), of which "
        f"{cpus[len(cpus) // 2]:.2f} s (median), {cpus[-1]:.2f} s (longest) of a processor\n"
    )
