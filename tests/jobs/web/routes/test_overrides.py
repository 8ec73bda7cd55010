"""Frames kept or dropped by hand through the API: pages show at once what SQL shows."""

from __future__ import annotations

import shutil
from typing import Any, cast

import httpx
import pytest

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.jobs.web.material import Server, served

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def own(web_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the workspace, to be changed."""
    folder = tmp_path_factory.mktemp("overrides") / "tables"
    shutil.copytree(web_workspace.folder, folder)
    return Workspace.at(folder)


@pytest.fixture(scope="module")
def site(own: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return served(own, tmp_path_factory.mktemp("accounts"))


@pytest.fixture(scope="module")
def reviewer(site: Server) -> httpx.Headers:
    return site.sign_in("ada", "reviewer")


def _put(site: Server, headers: httpx.Headers, body: Any) -> httpx.Response:
    route = f"/api/v1/projects/{site.project}/overrides"
    own = {**headers, "origin": str(site.client.base_url)}
    return cast("httpx.Response", site.client.put(route, json=body, headers=own))


def _frames(*numbers: int | str, decision: str | None = "drop", note: str | None = None) -> list[dict[str, Any]]:
    return [{"stream_id": "cam", "frame_idx": n, "decision": decision, "note": note} for n in numbers]


def _sql(workspace: Workspace, query: str) -> list[dict[str, Any]]:
    return View.of(workspace).sql(query).to_pylist()


def test_pages_show_what_was_decided_at_once(site: Server, own: Workspace, reviewer: httpx.Headers) -> None:
    kept, dropped = (
        [row["frame_idx"] for row in _sql(own, f"SELECT frame_idx FROM curated WHERE stream_id = 'cam' AND {which}")]
        for which in ("keep ORDER BY 1 LIMIT 3", "list_contains(reasons, 'dark') ORDER BY 1 LIMIT 2")
    )
    before = site.get("overview", reviewer).json()
    frames = [*_frames(*kept, note="a hand"), *_frames(*dropped, decision="keep")]
    answer = _put(site, reviewer, {"frames": frames})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["drop"], said["keep"], said["unchanged"], len(said["before"])) == (3, 2, 0, 5)
    after = site.get("overview", reviewer).json()
    assert (after["kept"] - before["kept"], after["dropped"] - before["dropped"]) == (-1, 1)
    assert {"reason": "by_hand", "frames": 3} in after["reasons"]
    for query, condition in (
        ({"reason": "by_hand"}, "list_contains(reasons, 'by_hand')"),
        ({"flag": "by_hand"}, "list_contains(flags, 'by_hand')"),
        ({"keep": "kept"}, "keep"),
        ({"reason": "dark"}, "list_contains(reasons, 'dark')"),
        (
            {"where": "list_contains(flags, 'by_hand') OR luma_mean < 5"},
            "list_contains(flags, 'by_hand') OR luma_mean < 5",
        ),
        ({"where": "NOT keep AND stream_id = 'cam'"}, "NOT keep AND stream_id = 'cam'"),
    ):
        rows = site.get("frames", reviewer, limit=1000, **query).json()["frames"]
        expected = _sql(own, f"SELECT stream_id, frame_idx, reasons FROM curated WHERE {condition} ORDER BY 1, 2")
        assert [{name: row[name] for name in ("stream_id", "frame_idx", "reasons")} for row in rows] == expected
    streams = {row["stream_id"]: row for row in site.get("streams", reviewer).json()["streams"]}
    assert {"reason": "by_hand", "frames": 3} in streams["cam"]["reasons"]
    found = site.get("frame", reviewer, stream="cam", idx=kept[0]).json()
    assert found["override"] == {"decision": "drop", "author": "ada", "note": "a hand"}
    assert found["why"][-1].startswith("by_hand: ada decided it by hand on 20")
    assert found["why"][-1].endswith(": a hand")
    assert (found["values"]["curation"]["keep"], found["values"]["curation"]["reasons"]) == (False, ["by_hand"])
    spared = site.get("frame", reviewer, stream="cam", idx=dropped[0]).json()
    assert spared["why"][0].startswith("kept: ada decided it by hand")
    assert spared["why"][1].startswith("curation alone would drop it for dark: mean luma is")
    listed = site.get("overrides", reviewer, limit=2).json()
    assert (listed["total"], len(listed["overrides"])) == (5, 2)
    # The answer undoes it.
    undone = _put(site, reviewer, {"frames": said["before"], "unless_after_ns": said["decided_ns"]})
    assert (undone.json()["removed"], undone.json()["newer"]) == (5, 0)
    assert site.get("overview", reviewer).json() == before


def test_the_same_request_once_more_changes_nothing(site: Server, reviewer: httpx.Headers) -> None:
    body = {"frames": _frames("0", 1)}
    assert _put(site, reviewer, body).json()["drop"] == 2
    again = _put(site, reviewer, body).json()
    assert (again["drop"], again["unchanged"], again["before"]) == (0, 2, [])
    _put(site, reviewer, {"frames": _frames(0, 1, decision=None)})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"frames": []}, 422),
        ({"frames": _frames(0), "more": 1}, 422),
        ({"frames": _frames(-1)}, 422),
        ({"frames": _frames("1e3")}, 422),
        ({"frames": _frames(2**63)}, 422),
        ({"frames": _frames(0, decision="burn")}, 422),
        ({"frames": _frames(0, note="x" * 2001)}, 422),
        ({"frames": _frames(0), "unless_after_ns": "now"}, 422),
        ({"frames": _frames(0, 0)}, 400),
        ({"frames": _frames(5000)}, 400),
        ({"frames": [{"stream_id": "../etc", "frame_idx": 0, "decision": "drop"}]}, 400),
        (None, 422),
        ("drop", 422),
    ],
)
def test_what_is_wrong_has_one_clear_line_and_changes_nothing(
    site: Server, reviewer: httpx.Headers, body: Any, status: int
) -> None:
    answer = _put(site, reviewer, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["lines"]
    assert site.get("overrides", reviewer).json()["total"] == 0


def test_viewers_may_look_and_not_decide(site: Server) -> None:
    viewer = site.sign_in("grace", "viewer")
    assert site.get("overrides", viewer).status_code == 200
    assert _put(site, viewer, {"frames": _frames(0)}).status_code == 403
