from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import schemas
from jobs.core.errors import UserError
from jobs.datasets import release
from jobs.dispatch.auto_release import publish
from jobs.dispatch.follow_up import NOTHING, FollowUp
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import go, problems, said, winnow, write_noise_stream


def exported(folder: Path) -> list[int]:
    """Return the numbers of the frames of an export, which its images are named by."""
    images = json.loads((folder / "annotations/instances_default.json").read_text())["images"]
    return sorted(int(re.findall(r"\d+", image["file_name"])[-1]) for image in images)


@pytest.mark.usefixtures("engine")
def test_each_release_is_chosen_from_and_exported_without_what_earlier_ones_had(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = write_noise_stream(tmp_path / "cam", range(4))
    then = FollowUp(select=3, export="coco", out=str(tmp_path / "sets"))
    first = go(workspace, folder).job_id
    made = publish(workspace, first, "nightly-1", [first], then)
    assert made["selected"] == 3
    assert made["exported"] == {"to": str(tmp_path / "sets/nightly-1"), "frames": 3}
    write_noise_stream(folder, range(10, 12), start=4)
    second = go(workspace, folder).job_id
    made = publish(workspace, second, "nightly-2", [first, second], then)
    assert (made["name"], made["before"], made["selected"]) == ("nightly-2", "nightly-1", 3)
    sets = [exported(tmp_path / "sets" / name) for name in ("nightly-1", "nightly-2")]
    assert sorted(sets[0] + sets[1]) == [0, 1, 2, 3, 4, 5]
    # A process that died before the job was done starts over, and ends with the same.
    assert publish(workspace, second, "nightly-2", [first, second], then) == made
    assert [exported(tmp_path / "sets" / name) for name in ("nightly-1", "nightly-2")] == sets
    # Where nothing is left to choose, nothing is exported.
    third = go(workspace, folder).job_id
    made = publish(workspace, third, "nightly-3", [first, second, third], then)
    assert made["selected"] == 0
    assert "exported" not in made
    assert not (tmp_path / "sets/nightly-3").exists()


@pytest.mark.usefixtures("engine")
def test_all_kept_frames_are_exported_where_none_are_chosen(workspace: Workspace, tmp_path: Path) -> None:
    job = go(workspace, write_noise_stream(tmp_path / "cam", range(40))).job_id
    then = FollowUp(export="jsonl", out=str(tmp_path / "sets"), split="train=0.8,val=0.2")
    made = publish(workspace, job, "nightly-1", [job], then)
    assert sorted(path.name for path in (tmp_path / "sets/nightly-1").glob("*.jsonl")) == [
        "frames_train.jsonl",
        "frames_val.jsonl",
    ]
    assert made["exported"]["frames"] > 20
    assert "selected" not in made


@pytest.mark.usefixtures("engine")
def test_a_foreign_folder_at_the_place_of_an_export_fails_the_job_and_stays(
    workspace: Workspace, tmp_path: Path
) -> None:
    job = go(workspace, write_noise_stream(tmp_path / "cam", range(3))).job_id
    theirs = tmp_path / "sets/nightly-1/notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    with pytest.raises(UserError, match="notes"):
        publish(workspace, job, "nightly-1", [job], FollowUp(export="coco", out=str(tmp_path / "sets")))
    assert theirs.read_text() == "mine"


def test_all_that_is_wrong_is_reported_at_once() -> None:
    wrong = FollowUp(select=0, strategy="best", export="zip", out=None, split="train=0.5")  # type: ignore[arg-type]
    found = wrong.problems()
    assert [line.split(":")[0] for line in found] == [
        "--select 0",
        "--strategy best",
        "--export zip",
        "--export",
        "--split train=0.5",
    ]
    assert FollowUp(out="sets").problems() == ["--out and --split: expected --export FORMAT with them"]
    assert NOTHING.problems() == []
    assert NOTHING.values() == {}
    with pytest.raises(UserError, match="what follows a release"):
        FollowUp.parse({"publish": True})


@pytest.mark.usefixtures("engine")
def test_a_schedule_ends_with_a_selection_and_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cam, place = write_noise_stream(tmp_path / "cam", range(6)), ("-w", tmp_path / "tables")
    cron = ("--cron", "@daily", "--input", cam, *place)
    refused = problems(winnow("schedule", "add", "nightly", *cron, "--select", "2", "--out", "sets"))
    assert refused == ["--out and --split: expected --export FORMAT with them"]
    added = winnow(
        "schedule",
        "add",
        "nightly",
        *cron,
        "--select",
        "2",
        "--strategy",
        "uniform",
        "--export",
        "yolo",
        "--out",
        "sets",
    )
    assert added.exit_code == 0
    (row,) = said(winnow("schedule", "list", *place, "--json"))
    assert row["then"] == {
        "select": 2,
        "strategy": "uniform",
        "export": "yolo",
        "out": str(tmp_path / "sets"),
        "split": None,
    }
    assert "select 2, uniform; export as yolo to" in winnow("schedule", "list", *place).stdout
    ran = winnow("schedule", "run-now", "nightly", "--here", *place)
    assert ran.exception is None
    store = Store(Workspace.at(tmp_path / "tables").root)
    (name,) = store.read(schemas.RELEASES)["name"].to_pylist()
    assert len(list((tmp_path / "sets" / name).rglob("*.jpg"))) == 2
    view = View.of(Workspace.at(tmp_path / "tables"))
    assert set(view.newest("selections").collect()["selection"]) == {name}
    assert release.references(store, name) == []
    listed = said(winnow("select", "--list", *place, "--json"))
    assert [(each["selection"], each["n_frames"], each["streams"]) for each in listed] == [(name, 2, ["cam"])]
    assert f"{name}       2  uniform   cam" in winnow("select", "--list", *place).stdout
