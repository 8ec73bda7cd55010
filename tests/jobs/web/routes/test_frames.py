"""Lists, counts and details of frames: what SQL has, in an order that stays."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as masks

import schemas
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.relations import Limits
from jobs.views.view import View
from jobs.web import frame_conditions
from tests.helpers import go
from tests.jobs.web.material import Server, served
from transforms.formats.outlines import filled

pytestmark = pytest.mark.process

_BEST = "SELECT (stream_id, frame_idx) FROM objects GROUP BY stream_id, frame_idx"
_LAST = "NULLS LAST, stream_id, frame_idx"


@pytest.fixture(scope="module")
def viewer(server: Server) -> httpx.Headers:
    """Somebody who may look."""
    return server.sign_in("frames-viewer", "viewer")


def _sql(workspace: Workspace, query: str) -> list[dict[str, Any]]:
    return View.of(workspace).sql(query).to_pylist()


def _names(answer: httpx.Response) -> list[tuple[str, int]]:
    assert answer.status_code == 200, answer.text
    return [(frame["stream_id"], frame["frame_idx"]) for frame in answer.json()["frames"]]


def _expected(workspace: Workspace, condition: str = "true", order: str = "stream_id, frame_idx") -> list[Any]:
    rows = _sql(workspace, f"SELECT stream_id, frame_idx FROM curated WHERE {condition} ORDER BY {order}")
    return [(row["stream_id"], row["frame_idx"]) for row in rows]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("stream", "stream_id, frame_idx"),
        ("-stream", "stream_id DESC, frame_idx DESC"),
        ("sharpness", f"sharpness {_LAST}"),
        ("-sharpness", f"sharpness DESC {_LAST}"),
        ("luma", f"luma_mean {_LAST}"),
        ("-motion", f"motion_peak DESC {_LAST}"),
        ("time", f"t_ns {_LAST}"),
        ("-time", f"t_ns DESC {_LAST}"),
    ],
)
def test_orders_are_those_of_sql(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers, sort: str, order: str
) -> None:
    answer = server.get("frames", viewer, sort=sort, limit=1000)
    assert _names(answer) == _expected(web_workspace, order=order)
    assert answer.json()["total"] == 242


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ({"stream": "cam"}, "stream_id = 'cam'"),
        ({"stream": ["cam", "timed"]}, "stream_id IN ('cam', 'timed')"),
        ({"stream": "nowhere"}, "false"),
        ({"keep": "kept"}, "keep"),
        ({"keep": "dropped"}, "NOT keep"),
        ({"keep": "undecided"}, "keep IS NULL"),
        ({"reason": "dark"}, "list_contains(reasons, 'dark')"),
        ({"reason": ["dark", "blurry"], "stream": "cam"}, "list_has_any(reasons, ['dark', 'blurry'])"),
        ({"reason": "mood"}, "false"),
        ({"hour": 11}, "t_ns // 3600000000000 % 24 = 11"),
        ({"where": "luma_mean > 120 AND frame_idx % 2 = 0"}, "luma_mean > 120 AND frame_idx % 2 = 0"),
        ({"where": "keep -- a comment", "stream": "cam"}, "keep AND stream_id = 'cam'"),
        (
            {"where": "frame_idx IN (SELECT max(frame_idx) FROM frames)"},
            "frame_idx = (SELECT max(frame_idx) FROM frames)",
        ),
        ({"category": "moving"}, "(stream_id, frame_idx) IN (SELECT (stream_id, frame_idx) FROM objects)"),
        ({"score": "0.3-0.7"}, f"(stream_id, frame_idx) IN ({_BEST} HAVING max(score) BETWEEN 0.3 AND 0.7)"),
        ({"score": "0-1", "stream": ["visited", "cam"]}, f"(stream_id, frame_idx) IN ({_BEST})"),
        ({"flag": ["frozen", "odd_size"]}, "list_has_any(flags, ['frozen', 'odd_size'])"),
        ({"reviewed": "no", "keep": "kept"}, "keep"),
        ({"reviewed": "yes"}, "false"),
        ({"scene": "0@cam", "caption": "dog"}, "false"),
    ],
)
def test_filters_choose_what_sql_chooses(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers, query: dict[str, Any], condition: str
) -> None:
    wanted = _expected(web_workspace, condition)
    assert _names(server.get("frames", viewer, limit=1000, **query)) == wanted
    assert server.get("facets", viewer, **query).json()["total"] == len(wanted)


def test_a_frame_in_a_list_has_the_values_of_the_tables(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    frames = server.get("frames", viewer, limit=1000).json()["frames"]
    rows = _sql(
        web_workspace,
        "SELECT stream_id, frame_idx, content_hash[:16] AS h, width, height, keep, reasons, n_objects, t_ns "
        "FROM curated ORDER BY 1, 2",
    )
    assert [frame["row"] for frame in frames] == list(range(242))
    ours = [{k: v for k, v in frame.items() if k not in {"t", "row"}} for frame in frames]
    assert ours == [{k: v for k, v in row.items() if k != "t_ns"} for row in rows]
    timed = [frame["t"] for frame in frames if frame["stream_id"] == "timed"]
    assert (timed[0], timed[14], timed[15]) == (
        "2024-01-15T10:59:50.000Z",
        "2024-01-15T11:00:04.000Z",
        "2024-01-15T11:01:05.000Z",
    )
    assert all(frame["t"] is None for frame in frames if frame["stream_id"] != "timed")


def _facet(workspace: Workspace, value: str, condition: str = "true", table: str = "curated") -> dict[Any, int]:
    rows = _sql(
        workspace,
        f"SELECT value, count(*) AS n FROM (SELECT {value} AS value FROM {table} WHERE {condition}) GROUP BY 1",
    )
    return {row["value"]: row["n"] for row in rows}


def test_facets_count_what_sql_counts(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    found = server.get("facets", viewer).json()
    counts = {kind: {v["value"]: v["frames"] for v in values} for kind, values in found["facets"].items()}
    assert found["total"] == 242
    assert counts["keep"] == _facet(web_workspace, "CASE WHEN keep THEN 'kept' ELSE 'dropped' END")
    assert counts["reason"] == _facet(web_workspace, "unnest(reasons)")
    assert counts["stream"] == _facet(web_workspace, "stream_id")
    assert counts["hour"] == _facet(web_workspace, "lpad(CAST(t_ns // 3600000000000 % 24 AS VARCHAR), 2, '0')")
    objects = "(SELECT DISTINCT stream_id, frame_idx, category FROM objects)"
    assert counts["category"] == _facet(web_workspace, "category", table=objects)
    assert counts["category"]


def test_a_facet_does_not_regard_its_own_filter(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    found = server.get("facets", viewer, stream="cam", keep="dropped").json()["facets"]
    streams = {v["value"]: v["frames"] for v in found["stream"]}
    verdicts = {v["value"]: v["frames"] for v in found["keep"]}
    assert streams == _facet(web_workspace, "stream_id", "NOT keep")
    assert verdicts == _facet(web_workspace, "CASE WHEN keep THEN 'kept' ELSE 'dropped' END", "stream_id = 'cam'")


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("keep) OR (1 = 1", "expected one SQL expression"),
        ("keep; DROP TABLE frames", "expected one SQL expression"),
        ("true) UNION SELECT name, 1 FROM users --", "expected one SQL expression"),
        ("random() < 0.5", "random() gives another answer every time"),
        (
            "stream_id IN (SELECT content FROM read_text('/etc/passwd'))",
            "the table function read_text() is not allowed",
        ),
        ("stream_id IN (SELECT a FROM '/etc/passwd')", "only the workspace's tables can be read"),
        ("mood > 1", "mood"),
        ("stream_id > 1 +", "expected one SQL expression"),
        ("(SELECT count(*) FROM users) > 0", "users"),
        ("x" * 10_001, "at most 10000 characters"),
        ("frame_idx", None),
    ],
)
def test_bad_conditions_have_one_clear_line(
    server: Server, viewer: httpx.Headers, condition: str, line: str | None
) -> None:
    for route in ("frames", "facets"):
        answer = server.get(route, viewer, where=condition)
        if line is None:
            # A number is a condition for SQL: all that are not zero.
            assert answer.status_code == 200
            continue
        assert answer.status_code in {400, 422}
        (said,) = answer.json()["lines"]
        assert line in said
        assert "\n" not in said


@pytest.mark.parametrize(
    ("limits", "condition", "line"),
    [
        (
            Limits(0.3, 200_000_000),
            "(SELECT sum(a.range * b.range % 7) FROM range(10000000) a, range(1000000) b) > 0",
            "SQL: it took more than 0.3 s, the most for a query here; narrow it",
        ),
        (
            Limits(60, 20_000_000),
            "(SELECT count(DISTINCT hash(range)) FROM range(30000000)) > 0",
            "SQL: it took more than 20 MB of memory, the most for a query here; narrow it",
        ),
    ],
)
def test_conditions_have_limits(
    server: Server, viewer: httpx.Headers, monkeypatch: pytest.MonkeyPatch, limits: Limits, condition: str, line: str
) -> None:
    monkeypatch.setattr(frame_conditions, "_LIMITS", limits)
    answer = server.get("frames", viewer, where=condition)
    assert (answer.status_code, answer.json()["lines"]) == (400, [line])


def test_unknown_orders_and_lists_are_refused(server: Server, viewer: httpx.Headers) -> None:
    answer = server.get("frames", viewer, sort="mood")
    assert answer.json()["lines"] == [
        "sort: expected one of stream, time, sharpness, luma, motion, also with - before it, found 'mood'"
    ]
    gone = server.get("frames", viewer, snapshot="nonsense")
    assert (gone.status_code, len(gone.json()["lines"])) == (410, 1)
    for query in ({"limit": 0}, {"limit": 10**6}, {"start": -1}, {"hour": 24}, {"keep": "maybe"}, {"score": "0.3"}):
        assert server.get("frames", viewer, **query).status_code == 422


def test_a_list_stays_as_it_is_while_a_run_changes_the_tables(web_inputs: Path, tmp_path: Path) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, web_inputs / "cam")
    server = served(workspace, tmp_path)
    viewer = server.sign_in("viewer", "viewer")
    first = server.get("frames", viewer, keep="kept", sort="-luma", limit=20).json()
    before = _expected(workspace, "keep", f"luma_mean DESC {_LAST}")
    assert _names(server.get("frames", viewer, keep="kept", sort="-luma", limit=1000)) == before
    go(workspace, web_inputs / "cam", web_inputs / "timed", settings=["curation.dark_mean=110"])
    time.sleep(0.3)
    pages = []
    for start in range(0, first["total"], 20):
        # What else is asked of a list does not count.
        answer = server.get("frames", viewer, snapshot=first["snapshot"], start=start, limit=20, sort="time")
        assert answer.json()["total"] == len(before)
        pages += _names(answer)
    assert pages == before
    after = _expected(workspace, "keep", f"luma_mean DESC {_LAST}")
    assert _names(server.get("frames", viewer, keep="kept", sort="-luma", limit=1000)) == after
    assert after != before
    # The values are those of now: most of its frames are dark since.
    kept_now = {frame for frame in before if frame in set(after)}
    shown = server.get("frames", viewer, snapshot=first["snapshot"], limit=1000).json()["frames"]
    assert {(f["stream_id"], f["frame_idx"]) for f in shown if f["keep"]} == kept_now
    overview = server.get("overview", viewer).json()
    assert [run["kept"] for run in overview["runs"]] == [len(after), len(before)]


def test_a_frame_says_why_it_was_dropped(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    (row,) = _sql(
        web_workspace,
        "SELECT * FROM curated WHERE stream_id = 'cam' AND list_contains(reasons, 'dark') ORDER BY frame_idx LIMIT 1",
    )
    found = server.get("frame", viewer, stream="cam", idx=row["frame_idx"]).json()
    assert found["why"][0].startswith(f"dark: mean luma is {row['luma_mean']:.3g}, below 32 (curation.dark_mean)")
    assert found["values"]["quality"]["luma_mean"] == pytest.approx(row["luma_mean"], rel=1e-6)
    assert found["values"]["frames"]["content_hash"] == row["content_hash"]
    assert found["h"] == row["content_hash"][:16]
    assert found["values"]["curation"] == {"keep": False, "reasons": row["reasons"], "flags": row["flags"]} | {
        "input_id": found["values"]["curation"]["input_id"]
    }


def test_every_dropped_frame_has_a_line_for_each_reason(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    rows = _sql(web_workspace, "SELECT stream_id, frame_idx, keep, reasons FROM curated")
    for row in rows[::7]:
        why = server.get("frame", viewer, stream=row["stream_id"], idx=row["frame_idx"]).json()["why"]
        if row["keep"]:
            assert why[0] == "kept: no reason to drop it"
        else:
            assert [line.partition(":")[0] for line in why][: len(row["reasons"])] == row["reasons"]
            assert all(line.partition(": ")[2] for line in why)


def test_blur_is_explained_by_the_threshold_that_decided(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    rows = _sql(
        web_workspace,
        "SELECT frame_idx, sharpness FROM curated WHERE stream_id = 'cam' AND list_contains(reasons, 'blurry')",
    )
    assert len(rows) == 6
    for row in rows:
        (line,) = server.get("frame", viewer, stream="cam", idx=row["frame_idx"]).json()["why"]
        if row["sharpness"] < 0.08:
            assert f"sharpness is {row['sharpness']:.3g}, below 0.08 (curation.blurry_floor)" in line
        else:
            assert "(curation.blurry_relative) of the level of its stream" in line


def test_duplicates_are_the_group(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    found = server.get("frame", viewer, stream="sparse", idx=5).json()["duplicates"]
    members = _sql(
        web_workspace,
        "SELECT stream_id, frame_idx, content_hash[:16] AS h, keep, hamming FROM curated "
        f"WHERE group_id = '{found['group_id']}' ORDER BY NOT is_representative, stream_id, frame_idx",
    )
    assert len(members) > 2
    assert [{k: v for k, v in m.items() if k != "cosine"} for m in found["members"]] == members
    assert found["representative"] == {k: members[0][k] for k in ("stream_id", "frame_idx")}


def test_the_frames_next_to_a_frame(server: Server, viewer: httpx.Headers) -> None:
    beside = {}
    for stream, idx in (("cam", 0), ("cam", 109), ("cam", 126), ("sparse", 50 - 5)):
        found = server.get("frame", viewer, stream=stream, idx=idx).json()
        beside[stream, idx] = (found["previous"], found["next"])
    assert beside == {
        ("cam", 0): (None, 1),
        ("cam", 109): (108, 115),
        ("cam", 126): (125, None),
        ("sparse", 45): (40, 100),
    }
    missing = server.get("frame", viewer, stream="cam", idx=110)
    assert (missing.status_code, missing.json()["lines"]) == (404, ["there is no frame 110 of stream 'cam'"])


def test_objects_are_those_of_the_view(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    rows = _sql(web_workspace, "SELECT * FROM objects WHERE stream_id = 'visited' ORDER BY annotation_id")
    assert rows
    for idx in sorted({row["frame_idx"] for row in rows})[:5]:
        mine = [row for row in rows if row["frame_idx"] == idx]
        found = server.get("frame", viewer, stream="visited", idx=idx).json()["objects"]
        assert [each["annotation_id"] for each in found] == [row["annotation_id"] for row in mine]
        for each, row in zip(found, mine, strict=True):
            assert each["bbox"] == pytest.approx([row[f"bbox_{edge}"] for edge in "xywh"], rel=1e-6)
            assert (each["category"], each["polygons"]) == (row["category"], [])


def test_outlines_of_a_mask_are_the_mask(web_workspace: Workspace, tmp_path: Path) -> None:
    shutil.copytree(web_workspace.folder, tmp_path / "tables")
    workspace = Workspace.at(tmp_path / "tables")
    mask = np.zeros((180, 320), np.uint8)
    mask[20:60, 30:90] = 1
    mask[30:40, 50:70] = 0
    mask[100:110, 200:203] = 1
    (frame,) = _sql(workspace, "SELECT content_hash FROM frames WHERE stream_id = 'cam' AND frame_idx = 3")
    encoded = masks.encode(np.asfortranarray(mask))["counts"].decode()
    base = {"stream_id": "cam", "frame_idx": 3, "content_hash": frame["content_hash"], "reviewer": "jane"}
    given = [
        base | {"annotation_id": "seen", "decision": "seen"},
        base
        | {"annotation_id": "one", "decision": "add", "category": "boat", "score": 1.0, "mask_rle": encoded}
        | {"bbox_x": 30.0, "bbox_y": 20.0, "bbox_w": 173.0, "bbox_h": 90.0, "source": "review", "model": "jane"},
    ]
    schema = schemas.REVIEWS.arrow_schema
    plain = {"string": "", "int64": 0, "bool": False, "float": 0.0}
    rows = [{f.name: row.get(f.name, None if f.nullable else plain.get(str(f.type))) for f in schema} for row in given]
    store = Store(workspace.root)
    store.create_tables([schemas.REVIEWS])
    store.upsert(schemas.REVIEWS, pa.Table.from_pylist(rows, schema), "review")
    server = served(workspace, tmp_path)
    viewer = server.sign_in("viewer", "viewer")
    (each,) = server.get("frame", viewer, stream="cam", idx=3).json()["objects"]
    assert (each["category"], each["bbox"], len(each["polygons"])) == ("boat", [30, 20, 173, 90], 3)
    rings = [np.array(ring).reshape(-1, 2) for ring in each["polygons"]]
    # By the even-odd rule: two outlines, less the hole.
    again = np.bitwise_xor.reduce([filled([ring], 320, 180) for ring in rings])
    assert np.array_equal(again, mask)
    assert server.get("frames", viewer, category="boat").json()["total"] == 1
