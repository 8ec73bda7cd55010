"""The map of frames, its colours and areas, and frames that are like one: what tables have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

import schemas
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from jobs.web.projections import FrameMap, inside
from tests.jobs.web.material import Server, served
from tests.waiting import wait_until
from transforms.models.embeddings import vector_column

pytestmark = pytest.mark.process
N = 242
NOWHERE = 65535


@pytest.fixture(scope="module")
def viewer(server: Server) -> httpx.Headers:
    return server.sign_in("map-viewer", "viewer")


@pytest.fixture(scope="module")
def embedded(web_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[int, Any]]:
    """A copy with vectors of some frames: of one model, in a plane, and of one frame by another model."""
    folder = tmp_path_factory.mktemp("embedded") / "tables"
    shutil.copytree(web_workspace.folder, folder)
    workspace = Workspace.at(folder)
    plane = {n: np.array([np.cos(n / 7), np.sin(n / 7), 0, 0], np.float32) for n in range(40)}
    rows = pa.table(
        {
            "stage_key": ["e"] * 41,
            "input_id": list(range(41)),
            "stream_id": ["cam"] * 41,
            "frame_idx": list(range(41)),
            "model": ["tiny"] * 40 + ["other"],
            "vector": vector_column(np.stack([*plane.values(), np.ones(4, np.float32)])),
        }
    )
    store = Store(workspace.root)
    store.create_tables([schemas.EMBEDDINGS])
    store.upsert(schemas.EMBEDDINGS, rows.cast(schemas.EMBEDDINGS.arrow_schema), "j")
    head = {"stream_id": "cam", "stage": "embeddings", "stage_key": "e", "job_id": "j", "moved_ns": 1}
    store.upsert(schemas.HEADS, pa.Table.from_pylist([head], schemas.HEADS.arrow_schema), "j")
    return workspace, plane


@pytest.fixture(scope="module")
def with_vectors(embedded: tuple[Workspace, dict[int, Any]], tmp_path_factory: pytest.TempPathFactory) -> Server:
    return served(embedded[0], tmp_path_factory.mktemp("accounts"))


def _binary(answer: httpx.Response, kind: str, columns: int) -> tuple[dict[str, Any], list[Any]]:
    assert answer.status_code == 200, answer.text
    length = int.from_bytes(answer.content[:4], "little")
    assert length % 4 == 0
    values = np.frombuffer(answer.content[4 + length :], kind)
    return json.loads(answer.content[4 : 4 + length]), np.split(values, columns)


def _names(answer: httpx.Response) -> list[tuple[str, int]]:
    assert answer.status_code == 200, answer.text
    return [(frame["stream_id"], frame["frame_idx"]) for frame in answer.json()["frames"]]


def test_the_map_has_a_place_for_each_measured_frame(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    head, (x, _) = _binary(server.get("map", viewer), "<u2", 2)
    assert (head["frames"], head["by"], head["kinds"]) == (N, "layout", ["layout"])
    rows = View.of(web_workspace).sql("SELECT status FROM frames ORDER BY stream_id, frame_idx").to_pylist()
    corrupt = np.array([row["status"] != "ok" for row in rows])
    assert corrupt.any()
    assert (x[corrupt] == NOWHERE).all()
    assert head["known"] == int((x != NOWHERE).sum())
    assert x[x != NOWHERE].max() > 60_000
    assert 0 < head["explained"][1] <= head["explained"][0] < 1


def test_equal_frames_are_at_one_place(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    _, (x, y) = _binary(server.get("map", viewer), "<u2", 2)
    rows = View.of(web_workspace).sql("SELECT content_hash FROM frames ORDER BY stream_id, frame_idx").to_pylist()
    places: dict[str, set[tuple[int, int]]] = {}
    for row, *at in zip(rows, x.tolist(), y.tolist(), strict=True):
        places.setdefault(row["content_hash"], set()).add((at[0], at[1]))
    assert max(len(found) for found in places.values()) == 1
    assert len(places) < N


def test_vectors_in_a_plane_are_drawn_as_they_are(with_vectors: Server, embedded: tuple[Workspace, Any]) -> None:
    viewer = with_vectors.sign_in("ada", "viewer")
    head, (x, y) = _binary(with_vectors.get("map", viewer), "<u2", 2)
    assert (head["by"], head["kinds"], head["known"]) == ("embedding", ["embedding", "layout"], 40)
    assert sum(head["explained"]) == pytest.approx(1)
    known = np.flatnonzero(x != NOWHERE)
    assert known.tolist() == list(range(40))
    # Distances on the map are those of the vectors, but for the scales of its two axes.
    vectors = np.stack([*embedded[1].values()])
    moved = np.stack([x[known], y[known], np.ones(40)], axis=1).astype(np.float64)
    fitted, *_ = np.linalg.lstsq(moved, vectors[:, :2], rcond=None)
    assert np.abs(moved @ fitted - vectors[:, :2]).max() < 1e-2


def test_an_area_is_a_filter_like_any_other(server: Server, viewer: httpx.Headers) -> None:
    _, (x, _) = _binary(server.get("map", viewer), "<u2", 2)
    left = server.get("frames", viewer, limit=1000, area="layout:0,0;0.5,0;0.5,1;0,1")
    everything = _names(server.get("frames", viewer, limit=1000))
    expected = [name for name, at in zip(everything, x.tolist(), strict=True) if at <= 0.5 * 65534]
    assert _names(left) == expected
    both = {"area": "layout:0,0;0.5,0;0.5,1;0,1", "keep": "kept"}
    kept = set(_names(server.get("frames", viewer, limit=1000, keep="kept")))
    assert set(_names(server.get("frames", viewer, limit=1000, **both))) == kept & set(expected)
    assert server.get("facets", viewer, **both).json()["total"] == len(kept & set(expected))
    head, (_, chosen) = _binary(server.get("map/colours", viewer, **both), "u1", 2)
    assert head["chosen"] == int(chosen.sum()) == len(kept & set(expected))


@pytest.mark.parametrize(
    ("area", "status"),
    [
        ("layout:0,0;1,1", 400),
        ("layout:0,0;1,1;2,0", 400),
        ("layout:0,0;1,1;1", 400),
        ("layout:" + ";".join(["0.1,0.2"] * 201), 400),
        ("colour:0,0;1,1;1,0", 422),
        ("layout:a,b;c,d;e,f", 422),
        ("embedding:0,0;1,1;1,0", 400),
    ],
)
def test_no_polygon_has_one_clear_line(server: Server, viewer: httpx.Headers, area: str, status: int) -> None:
    answer = server.get("frames", viewer, area=area)
    assert (answer.status_code, len(answer.json()["lines"])) == (status, 1)


def test_inside_is_the_even_odd_rule() -> None:
    across = np.array([0, 16384, 32768, 49152, 65534, NOWHERE], np.uint16)
    found = FrameMap(across, np.full(6, 32768, np.uint16))
    assert inside(found, np.array([[0.2, 0], [0.6, 0], [0.6, 1], [0.2, 1]])).tolist() == [0, 1, 1, 0, 0, 0]
    # A line that crosses itself leaves out what it goes around twice.
    star = np.array([[0.5, 1.0], [0.79, 0.1], [0.02, 0.65], [0.98, 0.65], [0.21, 0.1]])
    middle = FrameMap(np.array([32768], np.uint16), np.array([30000], np.uint16))
    assert not inside(middle, star).any()


def test_colours_are_the_values_of_the_table(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    rows = (
        View.of(web_workspace)
        .sql("SELECT keep, stream_id, luma_mean FROM curated ORDER BY stream_id, frame_idx")
        .to_pylist()
    )
    head, (codes, chosen) = _binary(server.get("map/colours", viewer, column="keep"), "u1", 2)
    names = [each["value"] for each in head["legend"]["values"]]
    assert [names[code] for code in codes] == ["true" if row["keep"] else "false" for row in rows]
    assert chosen.all()
    head, (codes, _) = _binary(server.get("map/colours", viewer, column="stream_id"), "u1", 2)
    assert [head["legend"]["values"][code]["value"] for code in codes] == [row["stream_id"] for row in rows]
    head, (codes, _) = _binary(server.get("map/colours", viewer, column="luma_mean"), "u1", 2)
    low, high = head["legend"]["low"], head["legend"]["high"]
    for code, row in zip(codes.tolist(), rows, strict=True):
        if row["luma_mean"] is None:
            assert code == 255
        else:
            assert code == pytest.approx(np.clip((row["luma_mean"] - low) / (high - low), 0, 1) * 254, abs=1.01)
    wrong = server.get("map/colours", viewer, column="mood")
    assert wrong.status_code == 400
    assert wrong.json()["lines"][0].endswith("found 'mood'")


def test_similar_frames_are_those_of_near_hashes(
    server: Server, web_workspace: Workspace, viewer: httpx.Headers
) -> None:
    rows = (
        View.of(web_workspace)
        .sql("SELECT stream_id, frame_idx, phash FROM fingerprints WHERE phash IS NOT NULL ORDER BY 1, 2")
        .to_pylist()
    )
    mine = next(int(row["phash"], 16) for row in rows if (row["stream_id"], row["frame_idx"]) == ("cam", 3))
    expected = sorted(
        ((int(row["phash"], 16) ^ mine).bit_count(), row["stream_id"], row["frame_idx"])
        for row in rows
        if (row["stream_id"], row["frame_idx"]) != ("cam", 3)
    )[:10]
    found = server.get("similar", viewer, stream="cam", idx=3, limit=10).json()
    assert [each["hamming"] for each in found["frames"]] == [bits for bits, *_ in expected]
    assert found["kinds"] == ["hash"]
    refused = server.get("similar", viewer, stream="cam", idx=3, by="embedding")
    assert refused.json()["lines"] == ["this frame has no embedding; run its stream with --add-stage embeddings"]


def test_similar_frames_by_embedding(with_vectors: Server, embedded: tuple[Workspace, Any]) -> None:
    viewer = with_vectors.sign_in("eve", "viewer")
    found = with_vectors.get("similar", viewer, stream="cam", idx=20, by="embedding", limit=4).json()
    assert {each["frame_idx"] for each in found["frames"]} == {18, 19, 21, 22}
    vectors = embedded[1]
    for each in found["frames"]:
        assert each["cosine"] == pytest.approx(float(vectors[20] @ vectors[each["frame_idx"]]), abs=1e-5)
    # Vectors of two models are not compared.
    assert with_vectors.get("similar", viewer, stream="cam", idx=40, by="embedding").status_code == 400


def test_the_nearest_frame_to_a_place(server: Server, viewer: httpx.Headers) -> None:
    _, (x, y) = _binary(server.get("map", viewer), "<u2", 2)
    everything = _names(server.get("frames", viewer, limit=1000))
    at = int(np.flatnonzero(x != NOWHERE)[7])
    found = server.get("map/nearest", viewer, x=x[at] / 65534, y=y[at] / 65534).json()["frame"]
    row = everything.index((found["stream_id"], found["frame_idx"]))
    assert (x[row], y[row]) == (x[at], y[at])
    assert server.get("map/nearest", viewer, x=2, y=0).status_code == 422


def test_columns_say_what_they_mean(server: Server, viewer: httpx.Headers) -> None:
    tables = server.get("columns", viewer).json()["tables"]
    assert tables["quality"]["luma_mean"] == {"unit": "luma 0..255", "doc": "Mean luma."}
    assert {"frames", "curation", "idle", "duplicates", "overrides"} <= tables.keys()


def test_an_empty_project_has_no_map(tmp_path: Path) -> None:
    server = served(Workspace.at(tmp_path / "tables").create(), tmp_path)
    viewer = server.sign_in("ada", "viewer")
    answer = server.get("map", viewer)
    assert (answer.status_code, answer.json()["lines"]) == (
        400,
        ["there are no vectors of kind layout; run the streams with the stage fingerprints (--add-stage fingerprints)"],
    )


def test_a_stored_map_is_shown_and_an_area_of_it_chooses_its_frames(
    with_vectors: Server, embedded: tuple[Workspace, Any]
) -> None:
    viewer = with_vectors.sign_in("cy", "viewer")
    refused = with_vectors.get("map", viewer, by="umap-embedding")
    assert refused.status_code == 400
    assert "winnow map --by embedding" in refused.json()["lines"][0]
    row: dict[str, Any] = {"projection": "umap-embedding", "stream_id": "cam", "method": "umap", "model": "tiny"}
    row |= {"neighbours": 15, "min_distance": 0.1, "seed": 0, "created_ns": 1}
    places = [row | {"frame_idx": n, "x": float(n % 2), "y": float(n)} for n in range(30)]
    store = Store(embedded[0].root)
    store.create_tables([schemas.PROJECTIONS])
    store.upsert(schemas.PROJECTIONS, pa.Table.from_pylist(places, schemas.PROJECTIONS.arrow_schema), "map")
    wait_until(lambda: with_vectors.get("map", viewer, by="umap-embedding").status_code == 200)
    head, (x, y) = _binary(with_vectors.get("map", viewer, by="umap-embedding"), "<u2", 2)
    assert (head["kinds"], head["known"]) == (["embedding", "layout", "umap-embedding"], 30)
    assert head["explained"] is None
    assert (np.diff(y[:30].astype(int)) > 0).all(), "places keep their order"
    assert (x[:30:2] < 3000).all()
    assert (x[1:30:2] > 60_000).all()
    left = "umap-embedding:0,0;0.4,0;0.4,1;0,1"
    assert _names(with_vectors.get("frames", viewer, area=left)) == [("cam", n) for n in range(0, 30, 2)]
