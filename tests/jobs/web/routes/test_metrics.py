from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from jobs.accounts import keys
from jobs.dispatch.submit import submit
from jobs.runs.run_options import RunOptions
from jobs.storage.workspace import Workspace
from tests.accounts import TESTS
from tests.helpers import write_noise_stream
from tests.jobs.web.served import API, OTHER, PROJECT, Site, served


def key(site: Site, owner: str, *scopes: str) -> str:
    person = site.people[owner]
    return site.database.write(lambda c: keys.add(c, TESTS, person.user_id, "a program", scopes))[1]


def test_prometheus_gets_the_gauges_of_each_project_and_the_servers_own(site: Site) -> None:
    root = site.settings.root
    assert root is not None
    folder = write_noise_stream(root / PROJECT / "cam", range(1))
    submit(Workspace.at(root / PROJECT).root, RunOptions(inputs=(str(folder),)))
    (root / "broken").mkdir()
    (root / "broken" / "winnow.json").write_text("{")
    with site.program(key(site, "root", "metrics")) as program:
        assert program.get(f"{API}/nothing").status_code == 404
        answer = program.get(f"{API}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["winnow_queue_depth", (("project", PROJECT),)] == 1
    assert found["winnow_queue_depth", (("project", OTHER),)] == 0
    assert found["winnow_jobs", (("project", PROJECT), ("state", "pending"))] == 1
    assert found["winnow_project_up", (("project", PROJECT),)] == 1
    assert found["winnow_project_up", (("project", "broken"),)] == 0
    assert found["winnow_server_answers_total", (("status", "404"),)] == 1
    assert found["winnow_server_event_streams", ()] == 0
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_metrics_are_for_keys_of_admins_with_their_scope(site: Site) -> None:
    for owner, scopes, status in (("root", ["read"], 403), ("admin", ["metrics"], 403), ("second", ["metrics"], 200)):
        with site.program(key(site, owner, *scopes)) as program:
            assert program.get(f"{API}/metrics").status_code == status, owner


def test_a_server_that_no_other_machine_reaches_answers_without_a_key(site: Site, tmp_path: Path) -> None:
    answer = site.client().get("/metrics")
    assert answer.status_code == 200
    assert 'winnow_project_up{project="crossing"} 1.0' in answer.text
    with served(tmp_path / "public", public_url="http://winnow.test") as public:
        answer = public.client().get("/metrics")
        assert answer.status_code == 404
        assert "winnow_" not in answer.text
