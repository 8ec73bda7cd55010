from __future__ import annotations

import json

import pytest

from jobs.runs.replay_spec import Replay


@pytest.mark.parametrize("replay", [Replay("j1", ("a",), "scenes", True), Replay("j1", ("a", "b"), recompute="idle")])
def test_a_replay_is_kept_in_the_words_on_disk(replay: Replay) -> None:
    data = json.loads(json.dumps(replay.as_data()))
    assert data.keys() == {"parent", "streams", "start", "promote", "again", "quarantined"}
    assert data["again"] == replay.recompute
    assert Replay.from_data(data) == replay
