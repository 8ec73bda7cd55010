"""Review through the routes of a server on a real workspace: roles, the queue, edits, conflicts, changed images."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from jobs.accounts import keys, people
from tests.accounts import TESTS
from tests.jobs.review.material import EMPTY, N, annotated
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import STREAM, Desk, desk

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("reviews")
    (folder / "accounts").mkdir()
    return served(annotated(folder), folder / "accounts")


def test_a_queue_has_all_frames_and_leases_go_to_one_person_each(server: Server) -> None:
    one, two = desk(server, "annotator"), desk(server, "annotator")
    page = one.get("queue")
    assert page["total"] == N
    assert {frame["state"] for frame in page["frames"]} == {"open"}
    first = one.post("leases", n=3).json()["leases"]
    second = two.post("leases", n=5).json()["leases"]
    assert len(first) == 3
    assert {x["frame_idx"] for x in first}.isdisjoint(x["frame_idx"] for x in second)
    assert len(second) == N - 3
    assert one.get("queue", tab="mine")["total"] == 3
    named = one.get("queue")["frames"]
    assert all(("lease_id" in frame["lease"]) == frame["lease"]["is_mine"] for frame in named)
    for who, leases in ((one, first), (two, second)):
        for lease in leases:
            assert who.post(f"leases/{lease['lease_id']}/ping").status_code == 200
            address = f"/api/v1/projects/{server.project}/review/leases/{lease['lease_id']}"
            assert server.client.delete(address, headers=who.headers).status_code == 204
            assert who.post(f"leases/{lease['lease_id']}/ping").status_code == 404


def test_an_annotator_draws_and_submits_a_reviewer_approves_and_a_viewer_sees_it(server: Server) -> None:
    annotator, reviewer, viewer = (desk(server, role) for role in ("annotator", "reviewer", "viewer"))
    (model,) = annotator.frame(0)["objects"]
    drawn = {"op": "add", "object_id": "drawn-0001", "category": "red", "bbox": [100, 50, 20, 10]}
    assert (
        annotator.edit(0, drawn, {"op": "set", "object_id": model["object_id"], "category": "cat"}).json()["revision"]
        == 1
    )
    assert annotator.edit(0, kind="submit").json()["state"] == "submitted"
    assert annotator.edit(0, kind="approve").status_code == 403
    assert viewer.edit(0, {"op": "negative"}).status_code == 403
    assert reviewer.edit(0, kind="return", note="the box is too large").json()["state"] == "returned"
    assert annotator.frame(0)["note"] == "the box is too large"
    assert annotator.post("leases", n=1).json()["leases"][0]["frame_idx"] == 0
    assert annotator.edit(0, kind="submit").json()["state"] == "submitted"
    assert reviewer.edit(0, kind="approve").json()["state"] == "approved"
    seen = viewer.frame(0)
    assert (seen["state"], seen["may"], len(seen["objects"])) == ("approved", [], 2)
    events = viewer.get("history", stream=STREAM, idx=0)["events"]
    assert [event["kind"] for event in events] == ["seed", "edit", "submit", "return", "submit", "approve"]
    of_one = viewer.get("history", stream=STREAM, idx=0, object_id="drawn-0001")["events"]
    assert [event["revision"] for event in of_one] == [1]


def test_other_objects_merge_and_the_same_object_is_shown_twice(server: Server) -> None:
    one, two = desk(server, "annotator"), desk(server, "annotator")
    (model,) = one.frame(1)["objects"]
    assert one.edit(1, {"op": "set", "object_id": model["object_id"], "category": "cat"}).status_code == 200
    fresh = {"op": "add", "object_id": "drawn-0002", "category": "cat", "polygons": [[1, 1, 20, 1, 20, 20]]}
    merged = two.edit(1, fresh, base_revision=0).json()
    assert [each["category"] for each in merged["changed"]] == ["cat"]
    refused = two.edit(1, {"op": "set", "object_id": model["object_id"], "bbox": [0, 0, 9, 9]}, base_revision=0)
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["conflicts"][0]["theirs"]["category"] == "cat"
    assert refused.json()["revision"] == 2


def test_status_and_source_are_never_in_a_request(server: Server) -> None:
    annotator = desk(server, "annotator")
    add = {"op": "add", "object_id": "drawn-0003", "category": "red", "bbox": [1, 1, 5, 5]}
    for field in ("status", "source", "score", "author", "decision", "revision"):
        refused = annotator.edit(2, {**add, field: "approved"})
        assert refused.status_code == 422, field
        assert "unknown field" in refused.text
    assert annotator.edit(2, add, state="approved").status_code == 422


def test_a_changed_image_is_410_and_geometry_outside_of_it_422(server: Server) -> None:
    annotator = desk(server, "annotator")
    add = {"op": "add", "object_id": "drawn-0004", "category": "red", "bbox": [1, 1, 5, 5]}
    gone = annotator.edit(2, add, h="0" * 16)
    assert (gone.status_code, gone.json()["h"]) == (410, annotator.frame(2)["h"])
    assert annotator.post("events", **{**_body(annotator, 2), "idx": 77, "ops": [add]}).json()["h"] is None
    outside = annotator.edit(2, {**add, "bbox": [250, 1, 50, 5]})
    assert outside.status_code == 422
    assert outside.json()["lines"] == ["ops.0: bbox: expected it inside the frame of 256x128, found 250, 1, 50, 5"]
    assert annotator.frame(2)["revision"] == 0


def _body(who: Desk, idx: int) -> dict[str, Any]:
    now = who.frame(idx)
    return {
        "event_id": secrets.token_hex(16),
        "stream": STREAM,
        "idx": idx,
        "h": now["h"],
        "base_revision": now["revision"],
        "kind": "edit",
    }


def test_a_negative_is_one_operation(server: Server) -> None:
    reviewer = desk(server, "reviewer")
    assert reviewer.edit(4, {"op": "negative"}, kind="submit").json()["state"] == "approved"
    now = reviewer.frame(4)
    assert (now["objects"], len(now["deleted"])) == ([], 1)
    assert reviewer.edit(EMPTY, kind="submit").json()["state"] == "approved"


def test_comments_are_on_frames_that_there_are(server: Server) -> None:
    annotator = desk(server, "annotator")
    said = annotator.post("comments", stream=STREAM, idx=5, text="is this one?").json()["comments"]
    assert [comment["text"] for comment in said] == ["is this one?"]
    assert annotator.frame(5)["n_comments"] == 1
    assert annotator.post("comments", stream=STREAM, idx=99, text="x").status_code == 404


def test_a_key_without_the_scope_to_review_submits_and_does_not_approve(server: Server) -> None:
    reviewer = desk(server, "reviewer")
    with server.database.read() as connection:
        person = people.by_name(connection, reviewer.name).user_id
    token = server.database.write(lambda c: keys.add(c, TESTS, person, "ci", ["annotate", "read"], None))[1]
    key = Desk(server, {"authorization": f"Bearer {token}"})
    assert key.edit(5, kind="submit").json()["state"] == "submitted"
    assert key.post("leases", n=1, tab="submitted").status_code == 403
    assert reviewer.edit(5, kind="approve").json()["state"] == "approved"
