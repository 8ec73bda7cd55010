"""Edits of many frames, tracks, categories, settings and figures through the routes of a server."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from jobs.review.export_reviews import QueueRequest, export_queue
from jobs.review.import_reviews import ImportRequest, import_file
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.jobs.review.material import N, annotated
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import STREAM, Desk, desk

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return annotated(tmp_path_factory.mktemp("bulk"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace) -> Server:
    return served(workspace, tmp_path_factory.mktemp("accounts"))


def named(who: Desk, idx: int) -> dict[str, Any]:
    frame = who.frame(idx)
    return {"stream": STREAM, "idx": idx, "h": frame["h"], "objects": [o["object_id"] for o in frame["objects"]]}


def test_many_objects_are_relabelled_at_once_and_the_answer_says_which_were_not(server: Server) -> None:
    annotator = desk(server, "annotator")
    event_id = secrets.token_hex(16)
    frames = [named(annotator, idx) for idx in range(N)]
    frames[4] |= {"h": "0" * 16}
    frames[5] |= {"objects": ["not-there-1"]}
    body = {"event_id": event_id, "kind": "edit", "op": {"op": "set", "category": "cat"}, "frames": frames}
    answer = annotator.post("bulk", **body).json()
    assert [each["idx"] for each in answer["applied"]] == [0, 1, 2, 3]
    assert [(each["idx"], each["status"]) for each in answer["refused"]] == [(4, 410), (5, 409)]
    assert {o["category"] for idx in (0, 1, 2) for o in annotator.frame(idx)["objects"]} == {"cat"}
    assert annotator.post("bulk", **body).json()["applied"] == answer["applied"]
    approve = {"event_id": secrets.token_hex(16), "kind": "approve", "frames": [named(annotator, 0)]}
    assert annotator.post("bulk", **approve).status_code == 403
    assert desk(server, "reviewer").post("bulk", **approve).json()["applied"][0]["revision"] == 2


def test_a_track_has_a_box_on_each_frame_between_its_keyframes(server: Server) -> None:
    annotator = desk(server, "annotator")
    keyframes = [{"idx": 1, "bbox": [0, 0, 10, 10]}, {"idx": 3, "bbox": [20, 40, 30, 10]}]
    body = {"event_id": secrets.token_hex(16), "stream": STREAM, "category": "red", "keyframes": keyframes}
    made = annotator.post("tracks", **body).json()
    assert [each["idx"] for each in made["applied"]] == [1, 2, 3]
    assert annotator.post("tracks", **body).json() == made
    by_id = {o["object_id"]: o for o in annotator.frame(2)["objects"]}
    box = by_id[made["applied"][1]["object_id"]]
    assert (box["bbox"], box["track_id"], box["keyframe"]) == ([10, 20, 20, 10], made["track_id"], False)
    # It ends one frame earlier now, and what is on the last one goes.
    objects = {str(each["idx"]): each["object_id"] for each in made["applied"]}
    keyframes[1] = {"idx": 3, "bbox": [20, 40, 30, 10], "visible": False}
    moved = {**body, "event_id": secrets.token_hex(16), "track_id": made["track_id"], "objects": objects}
    assert len(annotator.post("tracks", **{**moved, "keyframes": keyframes}).json()["applied"]) >= 1
    assert objects["3"] not in {o["object_id"] for o in annotator.frame(3)["objects"]}
    unknown = {**body, "event_id": secrets.token_hex(16), "keyframes": [{"idx": 99, "bbox": [0, 0, 9, 9]}]}
    assert annotator.post("tracks", **unknown).status_code == 422


def change(who: Desk, **body: Any) -> Any:
    answer = who.post("categories", **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_categories_are_added_renamed_merged_and_taken_back(server: Server, workspace: Workspace) -> None:
    admin, annotator = desk(server, "admin"), desk(server, "annotator")
    numbers = {each["category"]: each["number"] for each in admin.get("categories")["categories"]}
    found = change(admin, kind="add", category="bicycle")
    assert {each["category"] for each in found["categories"]} == {*numbers, "bicycle"}
    change(admin, kind="colour", category="bicycle", colour="#00ff7f")
    change(admin, kind="key", category="bicycle", key="3")
    found = change(admin, kind="rename", category="red", into="rectangle")
    by_name = {each["category"]: each for each in found["categories"]}
    assert by_name["red"]["merged_into"] == "rectangle"
    assert by_name["red"]["number"] == numbers["red"]
    assert by_name["rectangle"]["number"] > max(numbers.values())
    assert (by_name["bicycle"]["colour"], by_name["bicycle"]["key"]) == ("#00ff7f", "3")
    names = "SELECT DISTINCT category FROM objects"
    assert "red" not in {row["category"] for row in View.of(workspace).sql(names).to_pylist()}
    assert {o["category"] for o in annotator.frame(4)["objects"]} == {"rectangle"}
    old = {"op": "add", "object_id": "drawn-0001", "category": "red", "bbox": [1, 1, 5, 5]}
    assert annotator.edit(4, old).status_code == 422
    undone = next(each["change_id"] for each in found["changes"] if each["kind"] == "rename")
    address = f"/api/v1/projects/{server.project}/review/categories/{undone}"
    assert server.client.delete(address, headers=admin.headers).status_code == 200
    assert server.client.delete(address, headers=admin.headers).status_code == 404
    assert "red" in {row["category"] for row in View.of(workspace).sql(names).to_pylist()}
    assert annotator.edit(4, old).status_code == 200
    assert annotator.post("categories", kind="add", category="x").status_code == 403
    assert admin.post("categories", kind="merge", category="red", into="nothing").status_code == 400
    assert admin.post("categories", kind="colour", category="red", colour="blue").status_code == 400


def test_settings_change_what_is_asked_and_of_whom(server: Server) -> None:
    admin, reviewer = desk(server, "admin"), desk(server, "reviewer")
    address = f"/api/v1/projects/{server.project}/review/settings"
    assert reviewer.get("settings")["require_second_reviewer"] is False
    wanted = {"require_second_reviewer": True, "where": "frame_idx >= 4", "guidelines": "# All of it"}
    changed = server.client.patch(address, json=wanted, headers=admin.headers)
    assert changed.json() == {"lease_minutes": 10.0, "order": "uncertainty", **wanted}
    assert reviewer.edit(5, kind="submit").json()["state"] == "submitted"
    assert reviewer.edit(5, kind="approve").status_code == 403
    assert {frame["frame_idx"] for frame in reviewer.get("queue", tab="all")["frames"]} == {4, 5}
    for wrong in ({"lease_minutes": 0}, {"order": "best"}, {"nothing": 1}, {"where": "1; DROP TABLE x"}):
        assert server.client.patch(address, json=wrong, headers=admin.headers).status_code in {400, 422}
    assert server.client.patch(address, json={"order": "stream"}, headers=reviewer.headers).status_code == 403
    back = dict.fromkeys(("require_second_reviewer", "where", "guidelines"))
    assert server.client.patch(address, json=back, headers=admin.headers).json()["where"] is None
    assert reviewer.edit(5, kind="approve").json()["state"] == "approved"


def test_figures_say_who_did_what_and_how_often_models_were_right(server: Server) -> None:
    annotator, reviewer = desk(server, "annotator"), desk(server, "reviewer")
    drawn = {"op": "add", "object_id": "drawn-0009", "category": "red", "bbox": [1, 1, 5, 5]}
    annotator.edit(1, drawn, ms=4000)
    annotator.edit(1, kind="submit", ms=2000)
    reviewer.edit(1, kind="return", note="look at the other one")
    annotator.edit(1, kind="submit")
    reviewer.edit(1, kind="approve")
    (mine,) = annotator.get("figures")["people"]
    assert mine == {
        "user": annotator.name,
        "frames": 1,
        "objects_added": 1,
        "objects_changed": 0,
        "objects_deleted": 0,
        "submitted": 2,
        "returned": 1,
        "approved": 1,
        "median_s": 6.0,
        "agreement": 0.5,
    }
    assert len(reviewer.get("figures")["people"]) > 1
    server.client.app.state.reviews.publish(server.project)  # type: ignore[attr-defined]
    server.client.app.state.data.of(server.project).check_again()  # type: ignore[attr-defined]
    (red,) = [each for each in reviewer.get("figures")["categories"] if each["category"] == "red"]
    # On frames 0 and 1 the model's object became another category; one was drawn, and the one of frame 5 is right.
    assert (red["corrected"], red["kept"], red["deleted"]) == (2, 1, 0)
    assert sum(each["overruled"] for each in red["by_score"]) == 2


def test_a_file_that_comes_after_edits_in_the_browser_changes_none_of_them(
    server: Server, workspace: Workspace, tmp_path: Any
) -> None:
    reviewer = desk(server, "reviewer")
    out = tmp_path / "coco"
    export_queue(workspace, QueueRequest("coco", out, "frame_idx IN (1, 2)", include_reviewed=True))
    drawn = {"op": "add", "object_id": f"drawn-{secrets.token_hex(4)}", "category": "red", "bbox": [1, 1, 5, 5]}
    reviewer.edit(2, drawn, kind="submit")
    server.client.app.state.reviews.publish(server.project)  # type: ignore[attr-defined]
    before = sorted(map(repr, View.of(workspace).lazy("reviews").collect().to_dicts()))
    (file,) = [each for each in out.glob("*.json") if each.name not in {"manifest.json", "ids.json"}]
    counts = import_file(workspace, ImportRequest(file, reviewer="somebody", reviewed="all"))
    assert counts["frames"] == 0
    assert counts["notes"][-1].startswith("left out: 2 frames were edited in the browser, the first is yard/gate 1")
    assert sorted(map(repr, View.of(workspace).lazy("reviews").collect().to_dicts())) == before
