from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.dispatch import job_control
from jobs.dispatch.execute_job import request_of
from jobs.dispatch.job_queue import JobQueue
from jobs.dispatch.submit import submit
from jobs.records.job_log import JobLog
from jobs.runs.run import run
from jobs.runs.run_options import RunOptions, build_request
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream
from tests.web_server import WebServer, lines, web_server


@pytest.fixture
def cam(tmp_path: Path) -> Path:
    return write_noise_stream(tmp_path / "cam", range(3))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path / "tables").create()


@pytest.fixture
def server(place: Workspace) -> Iterator[WebServer]:
    with web_server(place) as found:
        yield found


def queued(place: Workspace, cam: Path) -> str:
    return submit(place.root, RunOptions(inputs=(str(cam),)))


def test_a_queued_job_is_listed_with_what_it_was_submitted_with(server: WebServer, place: Workspace, cam: Path) -> None:
    job_id = queued(place, cam)
    [job] = server.admin.get(f"{server.project}/jobs").json()["jobs"]
    assert (job["job_id"], job["state"], job["number"]) == (job_id, "pending", 1)
    assert (job["profile"], job["inputs"], job["priority"]) == ("quality", [str(cam)], 0)
    assert server.admin.get(f"{server.project}/jobs/{job_id}").json()["stages"] == []
    assert server.admin.get(f"{server.project}/jobs/{job_id[:8]}").status_code == 404


def test_pages_and_commands_write_the_same_records(server: WebServer, place: Workspace, cam: Path) -> None:
    job_id = queued(place, cam)
    asked = server.admin.post(f"{server.project}/jobs/{job_id}/pause", json={})
    assert asked.json() == {"job_id": job_id, "state": "paused", "request": None}
    assert job_control.resume(place, job_id).state.state == "pending"
    assert server.admin.post(f"{server.project}/jobs/{job_id}/cancel", json={}).json()["state"] == "cancelled"
    refused = server.admin.post(f"{server.project}/jobs/{job_id}/resume", json={})
    assert (refused.status_code, lines(refused)) == (
        409,
        [f"job {job_id} is cancelled, expected one that is paused or has failed"],
    )
    assert server.admin.post(f"{server.project}/jobs/{job_id}/clear").status_code == 204
    assert server.admin.get(f"{server.project}/jobs").json()["jobs"] == []


def test_of_two_people_who_decide_on_the_same_state_one_is_refused(
    server: WebServer, place: Workspace, cam: Path
) -> None:
    job_id = queued(place, cam)
    job_control.pause(place, job_id)
    [job] = server.admin.get(f"{server.project}/jobs").json()["jobs"]
    both = [
        server.admin.post(f"{server.project}/jobs/{job_id}/{word}", json={"number": job["number"]})
        for word in ("resume", "resume")
    ]
    assert [answer.status_code for answer in both] == [200, 409]
    assert lines(both[1]) == [f"job {job_id} is pending by now: somebody, or the job itself, was first"]
    assert [record.word for record in JobLog(place.root, job_id).records()] == ["submitted", "pause", "resume"]


def test_a_job_of_the_command_line_is_continued_by_the_gateway(server: WebServer, place: Workspace, cam: Path) -> None:
    job_id = "20261121-020000-failed"
    log = JobLog(place.root, job_id)
    asked = build_request(place.root, RunOptions(inputs=(str(cam),), strict=True))
    log.add("started", {"process": {}, "request": asked.as_data()})
    log.add("failed", {"error": "no space left"})
    [before] = server.admin.get(f"{server.project}/jobs").json()["jobs"]
    assert (before["state"], before["queued"], before["error"]) == ("failed", False, "no space left")
    stepped = server.admin.post(f"{server.project}/jobs/{job_id}/step", json={"number": before["number"]})
    assert stepped.json() == {"job_id": job_id, "state": "pending", "request": "step"}
    [job] = JobQueue(place.root).live()
    assert job.is_due(job.submitted_ns + 10**18)
    assert request_of(place, job).as_data() == asked.as_data()


@pytest.mark.process
def test_a_run_is_planned_submitted_and_replayed(server: WebServer, place: Workspace, cam: Path) -> None:
    options = {"inputs": [str(cam)], "settings": ["curation.dark_mean=20"]}
    plan = server.admin.post(f"{server.project}/plan", json={"options": options}).json()
    assert plan["frames"] == 3
    assert {stage["stage"]: stage["compute"] for stage in plan["stages"]}["quality"] == 3
    made = server.admin.post(f"{server.project}/jobs", json={"options": options, "priority": 7})
    assert made.status_code == 201
    [job] = JobQueue(place.root).live()
    assert (job.job_id, job.priority) == (made.json()["job_id"], 7)
    record = go(place, cam)
    replay = {"start": "curation", "settings": ["curation.dark_mean=25"], "promote": True}
    child = server.admin.post(f"{server.project}/jobs/{record.job_id}/replay", json=replay).json()["job_id"]
    [found] = [job for job in server.admin.get(f"{server.project}/jobs").json()["jobs"] if job["job_id"] == child]
    assert (found["state"], found["parent"]) == ("pending", record.job_id)
    wrong = {"start": "curation", "settings": ["quality.scale=9"]}
    assert server.admin.post(f"{server.project}/jobs/{record.job_id}/replay", json=wrong).status_code == 400


@pytest.mark.process
def test_a_run_that_is_over_has_its_stages_journal_and_place_in_the_tree(
    server: WebServer, place: Workspace, cam: Path
) -> None:
    record = go(place, cam)
    [listed] = server.admin.get(f"{server.project}/jobs").json()["jobs"]
    assert (listed["state"], listed["profile"], listed["frames"]) == ("done", "quality", 3)
    job = server.admin.get(f"{server.project}/jobs/{record.job_id}").json()
    assert {stage["stage"]: stage["computed"] for stage in job["stages"]}["frames"] == 3
    whole = server.admin.get(f"{server.project}/jobs/{record.job_id}/journal").json()
    assert [event["n"] for event in whole["events"]] == list(range(1, whole["last"] + 1))
    assert (whole["events"][0]["event"], whole["events"][-1]["event"]) == ("run_started", "run_done")
    path = f"{server.project}/jobs/{record.job_id}/journal"
    rest = server.admin.get(path, params={"after": whole["last"] - 1}).json()
    assert rest["events"] == whole["events"][-1:]
    of_stage = server.admin.get(path, params={"stage": "curation"}).json()["events"]
    assert {event["stage"] for event in of_stage} == {"curation"}
    [run] = server.admin.get(f"{server.project}/runs").json()["runs"]
    assert (run["job_id"], run["parent"]) == (record.job_id, None)
    same = {"one": record.job_id, "other": record.job_id}
    assert server.admin.get(f"{server.project}/runs/diff", params=same).json()["same"] is True


def test_schedules_are_kept_listed_run_and_deleted(server: WebServer, place: Workspace, cam: Path) -> None:
    wanted = {"name": "nightly", "cron": "0 2 * * *", "options": {"inputs": [str(cam)]}}
    assert server.admin.post(f"{server.project}/schedules", json=wanted).status_code == 201
    [kept] = server.admin.get(f"{server.project}/schedules").json()["schedules"]
    assert (kept["name"], kept["cron"], kept["inputs"]) == ("nightly", "0 2 * * *", [str(cam)])
    job_id = server.admin.post(f"{server.project}/schedules/nightly/run").json()["job_id"]
    assert [job.job_id for job in JobQueue(place.root).live()] == [job_id]
    assert server.admin.delete(f"{server.project}/schedules/nightly").status_code == 204
    assert server.admin.get(f"{server.project}/schedules").json()["schedules"] == []
    wrong = server.admin.post(f"{server.project}/schedules", json={**wanted, "cron": "at night"})
    assert wrong.status_code == 400


@pytest.mark.process
def test_admins_of_a_project_name_neither_files_nor_addresses(server: WebServer, place: Workspace, cam: Path) -> None:
    lead = server.client(server.person("lead", "admin"))
    other = {"options": {"inputs": ["/etc"], "settings": ["annotate.weights=/etc/passwd", "curation.dark_mean=20"]}}
    refused = lead.post(f"{server.project}/jobs", json=other)
    assert (refused.status_code, lines(refused)) == (
        403,
        [
            "inputs: '/etc' is no stream of this project; send files as uploads, or have an admin of the server add it",
            "settings: 'annotate.weights=/etc/passwd': paths, addresses and texts are set by admins of the server",
        ],
    )
    go(place, cam)
    known = {"options": {"inputs": [str(cam)], "settings": ["curation.dark_mean=20", "stages=[+idle]"]}}
    assert lead.post(f"{server.project}/jobs", json=known).status_code == 201
    by_file = {"options": {"inputs": [str(cam)], "config": "evil.py:config"}}
    for who in (lead, server.admin):
        answer = who.post(f"{server.project}/jobs", json=by_file)
        assert (answer.status_code, lines(answer)) == (
            400,
            ["config: files are read by the command line alone; give a profile and settings"],
        )
    [job] = JobQueue(place.root).live()
    assert job.state.state == "pending"


@pytest.mark.parametrize(
    ("setting", "is_plain"),
    [
        ("curation.dark_mean=20", True),
        ("curation.dark_mean=-1.5e3", True),
        ("stages=[+track, idle]", True),
        ("idle.enabled=false", True),
        ("ingest.times=times.csv", False),
        ("annotate.weights=/w.onnx", False),
        ("escalate.url=http://10.0.0.1/", False),
        ("annotate.weights=..", False),
        ("when.annotate='keep'", False),
        ("[1, 2]", False),
    ],
)
def test_settings_of_a_project_are_numbers_switches_and_names(setting: str, is_plain: bool) -> None:
    from jobs.web.submissions import wrong_settings

    assert (not list(wrong_settings([setting]))) == is_plain


@pytest.mark.process
def test_a_replay_says_what_it_changes_and_runs_are_compared_frame_by_frame(
    server: WebServer, place: Workspace, cam: Path
) -> None:
    parent = go(place, cam, settings=("curation.ignore=[blurry]",)).job_id
    replay = {"start": "curation", "settings": ["curation.dark_mean=255"], "promote": True}
    child = server.admin.post(f"{server.project}/jobs/{parent}/replay", json=replay).json()["job_id"]
    descent = server.admin.get(f"{server.project}/jobs/{child}").json()["replay"]
    assert (descent["parent"], descent["start"], descent["promote"]) == (parent, "curation", True)
    assert descent["changed"] == {"curation.dark_mean": [32.0, 255]}
    assert server.admin.get(f"{server.project}/jobs/{parent}").json()["replay"] is None
    [job] = JobQueue(place.root).live()
    ran = run(request_of(place, job)).job_id
    assert set(server.admin.get(f"{server.project}/runs").json()["current"]) == {parent, ran}
    asked: dict[str, str | int] = {"one": parent, "other": ran, "start": 1, "limit": 1}
    found = server.admin.get(f"{server.project}/runs/diff/frames", params=asked).json()
    assert (found["total"], [frame["frame_idx"] for frame in found["frames"]]) == (3, [1])
    assert (found["frames"][0]["kept"], found["frames"][0]["reasons"]) == (True, ["dark"])
    wrong = server.admin.get(f"{server.project}/runs/diff/frames", params={**asked, "table": "heads"})
    assert wrong.status_code == 400
