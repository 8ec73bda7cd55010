"""Streams and timelines: counts as SQL has them, bins without slits, intervals where they are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.jobs.web.material import Server

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def viewer(server: Server) -> httpx.Headers:
    """Somebody who may look."""
    return server.sign_in("streams-viewer", "viewer")


def _sql(workspace: Workspace, query: str) -> list[dict[str, Any]]:
    return View.of(workspace).sql(query).to_pylist()


def test_streams_have_the_counts_of_sql(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    streams = server.get("streams", viewer).json()["streams"]
    assert [(s["stream_id"], s["kind"], s["n_frames"]) for s in streams] == [
        ("cam", "folder", 122),
        ("drive", "video", 40),
        ("sparse", "folder", 20),
        ("timed", "folder", 20),
        ("visited", "folder", 40),
    ]
    counts = _sql(
        web_workspace,
        "SELECT stream_id, count(*) FILTER (keep) AS kept, count(*) FILTER (NOT keep) AS dropped FROM curated "
        "GROUP BY 1 ORDER BY 1",
    )
    assert [{k: s[k] for k in ("stream_id", "kept", "dropped")} for s in streams] == counts
    reasons = _sql(
        web_workspace, "SELECT stream_id, unnest(reasons) AS reason, count(*) AS n FROM curation GROUP BY 1, 2"
    )
    found = {(s["stream_id"], r["reason"]): r["frames"] for s in streams for r in s["reasons"]}
    assert found == {(row["stream_id"], row["reason"]): row["n"] for row in reasons}
    assert streams[0]["gaps"] == [{"start": 110, "end": 114}]
    assert streams[0]["remarks"] == ["5 numbers missing in 1 gap"]
    assert streams[0]["n_bad"] == 2
    assert streams[0]["first_t"] is None


def test_each_number_is_in_the_bin_that_whole_numbers_say(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    rows = _sql(web_workspace, "SELECT frame_idx, keep, reasons FROM curation WHERE stream_id = 'cam'")
    for asked, bins in ((10, 10), (127, 127), (600, 127), (1, 1), (50, 50)):
        found = server.get("timeline", viewer, stream="cam", bins=asked).json()
        assert (found["start"], found["end"], found["bins"]) == (0, 126, bins)
        place = {row["frame_idx"]: row["frame_idx"] * bins // 127 for row in rows}
        n = Counter(place.values())
        kept = Counter(place[row["frame_idx"]] for row in rows if row["keep"])
        dark = Counter(place[row["frame_idx"]] for row in rows if "dark" in row["reasons"])
        assert found["frames"] == [n[at] for at in range(bins)]
        assert found["kept"] == [kept[at] for at in range(bins)]
        assert found["reasons"]["dark"] == [dark[at] for at in range(bins)]
        assert all(number is None or place[number] == at for at, number in enumerate(found["at"]))
        assert [number is None for number in found["at"]] == [count == 0 for count in found["frames"]]


def test_intervals_are_where_their_frames_are(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    found = server.get("timeline", viewer, stream="cam", bins=127).json()
    for table in ("idle", "scenes"):
        rows = _sql(web_workspace, f"SELECT start_idx, end_idx FROM {table} WHERE stream_id = 'cam' ORDER BY 1")
        assert found[table] == [[row["start_idx"], row["end_idx"] + 1] for row in rows]
    assert found["idle"]
    assert found["gaps"] == [[110, 115]]


def test_curves_are_means_of_what_is_known(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    found = server.get("timeline", viewer, stream="cam", bins=10).json()
    (row,) = _sql(
        web_workspace,
        "SELECT avg(sharpness::DOUBLE) AS sharpness, avg(luma_mean::DOUBLE) AS luma, "
        "avg(motion_peak::DOUBLE) AS motion "
        "FROM curated WHERE stream_id = 'cam' AND frame_idx * 10 // 127 = 9",
    )
    assert {name: curve[9] for name, curve in found["curves"].items()} == pytest.approx(row, abs=2e-6)


def test_numbers_with_steps_leave_no_slits(server: Server, viewer: httpx.Headers) -> None:
    found = server.get("timeline", viewer, stream="sparse", bins=600).json()
    empty = [at for at, n in enumerate(found["frames"]) if not n]
    gap = found["gaps"][0]
    assert sum(found["frames"]) == 20
    assert empty
    assert all(gap[0] - 1 <= at <= gap[1] for at in empty)


def test_by_time_frames_are_where_their_times_are(server: Server, viewer: httpx.Headers) -> None:
    # 15 frames a second apart, from 10:59:50 on, and 5 more from 11:01:05 on: 80 seconds from the first to the last.
    found = server.get("timeline", viewer, stream="timed", by="time", bins=8).json()
    assert (found["start"], found["end"]) == ("2024-01-15T10:59:50.000Z", "2024-01-15T11:01:09.000Z")
    assert found["bins"] == 8
    assert found["frames"] == [10, 5, 0, 0, 0, 0, 0, 5]
    fine = server.get("timeline", viewer, stream="timed", by="time", bins=4000).json()
    # No bin is narrower than frames are apart.
    assert fine["bins"] == 52
    assert all(fine["frames"][:9])
    assert sum(fine["frames"]) == 20
    assert fine["idle"] == []
    assert fine["scenes"][0][0] == 0


def test_a_stream_without_times_has_no_timeline_by_time(server: Server, viewer: httpx.Headers) -> None:
    answer = server.get("timeline", viewer, stream="cam", by="time")
    assert answer.status_code == 400
    assert answer.json()["lines"] == ["stream cam: no time is known of its frames; ask for it by number"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"stream": "../cam"}, 404),
        ({"stream": ""}, 422),
        ({}, 422),
        ({"stream": "cam", "bins": 0}, 422),
        ({"stream": "cam", "bins": 10**9}, 422),
        ({"stream": "cam", "by": "mood"}, 422),
    ],
)
def test_what_makes_no_sense_is_refused(
    server: Server, viewer: httpx.Headers, query: dict[str, Any], status: int
) -> None:
    answer = server.get("timeline", viewer, **query)
    assert (answer.status_code, len(answer.json()["lines"])) == (status, 1)


@pytest.mark.parametrize("route", ["overview", "streams", "timeline?stream=cam", "media/frame?stream=cam&idx=0"])
def test_only_members_see_a_project(server: Server, route: str) -> None:
    nobody = httpx.Headers()
    stranger = server.sign_in(f"stranger-{route[:3]}")
    assert server.get(route, nobody).status_code == 401
    assert server.get(route, stranger).status_code == 404


def test_the_frames_that_a_timeline_of_a_clip_shows_decode_without_others(
    server: Server, viewer: httpx.Headers
) -> None:
    few = server.get("timeline", viewer, stream="drive", bins=4).json()
    assert few["at"] == [0, 10, 20, 30]
    all_of_them = server.get("timeline", viewer, stream="drive", bins=40).json()
    assert all_of_them["at"] == list(range(40))
