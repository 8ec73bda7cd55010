"""Kills in the middle of `review import`."""

from __future__ import annotations

import json

from tests.faults.maintenance import done, killed
from tests.faults.trial import MODEL, Round
from tests.processes import finished


def review_import_killed(trial: Round) -> None:
    trial.use(MODEL)
    finished(trial.begin())
    file = trial.folder / "annotations"
    words = ("review", "export", "--format", "coco", "--where", "true", "--media", "none", "--out", file)
    done(trial, *words)
    imports = ("review", "import", file / "annotations.json", "--reviewer", "ada", "--reviewed", "all")
    killed(trial, *imports)
    done(trial, *imports)
    # All of it is there, once.
    counted = json.loads(done(trial, *imports, "--json").splitlines()[-1])
    shown = json.loads(done(trial, "sql", "SELECT count(*) AS n FROM reviewed_frames", "--format", "json"))
    assert counted["unchanged"] == shown[0]["n"] > 0


FAULTS = (review_import_killed,)
