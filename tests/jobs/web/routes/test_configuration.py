from __future__ import annotations

from pathlib import Path

import pytest

from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.web_server import lines, web_server


@pytest.mark.process
def test_a_form_has_the_values_of_a_profile_or_of_a_run(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path / "tables").create()
    with web_server(place) as server:
        client = server.client(server.person("looks", "viewer"))

        def values(**query: str) -> dict[str, object]:
            found = client.get(f"{server.project}/configuration", params=query).json()
            assert found["options"]["limit"] == "Measure at most this many more frames."
            return {each["key"]: each["value"] for section in found["sections"] for each in section["settings"]}

        assert values()["curation.dark_mean"] == 32
        unknown = client.get(f"{server.project}/configuration", params={"profile": "qualty"})
        assert unknown.status_code == 400
        assert lines(unknown)[0].startswith("unknown profile 'qualty' (did you mean 'quality'?)")
        missing = client.get(f"{server.project}/configuration", params={"run": "last"})
        assert missing.status_code == 404
        record = go(place, write_noise_stream(tmp_path / "cam", range(3)), settings=("curation.dark_mean=41",))
        assert values(run=record.job_id)["curation.dark_mean"] == 41
