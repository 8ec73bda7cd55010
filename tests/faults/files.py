"""Files of frames that are replaced while they are read."""

from __future__ import annotations

import os
import time

from tests.faults.trial import Round
from tests.helpers import copy_stream
from tests.processes import finished, start
from tests.waiting import ended


def files_replaced(trial: Round) -> None:
    stream = copy_stream(trial.stream, trial.folder / trial.stream.name)
    trial.stream, trial.without = stream, ("uri", "mtime_ns", "stat_id")
    sound = {path: path.read_bytes() for path in sorted(stream.iterdir())}
    process = trial.begin()
    replaced = []
    while process.poll() is None:
        path, other = trial.random.sample(sorted(sound), 2)
        # By the same, by another image, by the beginning of one: each as a whole, and in place.
        data = trial.random.choice((sound[path], sound[other], sound[other][: len(sound[other]) // 2]))
        if trial.random.random() < 0.5:
            spare = trial.folder / "spare"
            spare.write_bytes(data)
            os.replace(spare, path)
        else:
            path.write_bytes(data)
        replaced.append(path)
        time.sleep(trial.random.uniform(0, 0.05))
    _, _, said = ended(process)
    assert "Traceback" not in said
    assert process.returncode in {0, 1}, said
    for path in set(replaced):
        path.write_bytes(sound[path])
    trial.run_again()
    # Groups that were there keep their representatives when frames change: those of an undisturbed run need new ones.
    again = (*trial.settings, "duplicates.rebuild=true")
    finished(start(trial.place, trial.stream, settings=again, alone=trial.alone))


FAULTS = (files_replaced,)
