"""Kills of the gateway around the time of a schedule."""

from __future__ import annotations

import time

from jobs.records.job_log import jobs_of
from jobs.storage.paths import place
from jobs.storage.workspace import Workspace
from tests.faults.maintenance import done
from tests.faults.trial import Round
from tests.waiting import wait_until


def gateway_killed_at_its_schedule(trial: Round) -> None:
    Workspace.at(trial.place).create()
    settings = [word for setting in trial.settings for word in ("--set", setting)]
    words = ("schedule", "add", "often", "--cron", "* * * * *", "--input", trial.stream, *settings)
    done(trial, *words, *(("--ray-address", trial.address) if trial.address else ()))
    gateway = trial.gateway()
    wait_until(lambda: jobs_of(place(trial.place)))
    time.sleep(trial.delay)
    gateway.kill()
    gateway.communicate()
    done(trial, "schedule", "remove", "often")
    # It is in the queue once, however often its time has passed.
    (job_id,) = jobs_of(place(trial.place))
    trial.serve(job_id, "done")


FAULTS = (gateway_killed_at_its_schedule,)
