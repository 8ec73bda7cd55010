"""Kinds of frames besides verdict, stream, category and hour: counts and filters are those of SQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
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
from tests.jobs.web.material import Server, served

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def viewer(server: Server) -> httpx.Headers:
    """Somebody who may look."""
    return server.sign_in("kinds-viewer", "viewer")


def _sql(workspace: Workspace, query: str) -> list[dict[str, Any]]:
    return View.of(workspace).sql(query).to_pylist()


def _facet(workspace: Workspace, value: str) -> dict[Any, int]:
    rows = _sql(workspace, f"SELECT value, count(*) AS n FROM (SELECT {value} AS value FROM curated) GROUP BY 1")
    return {row["value"]: row["n"] for row in rows}


def _counts(values: Iterable[dict[str, Any]]) -> dict[Any, int]:
    return {each["value"]: each["frames"] for each in values}


def _names(answer: httpx.Response) -> list[tuple[str, int]]:
    return [(frame["stream_id"], frame["frame_idx"]) for frame in answer.json()["frames"]]


def test_kinds_of_frames_count_what_sql_counts(server: Server, web_workspace: Workspace, viewer: httpx.Headers) -> None:
    found = server.get("facets", viewer).json()
    counts = {kind: _counts(values) for kind, values in found["facets"].items()}
    assert counts["flag"] == _facet(web_workspace, "unnest(flags)")
    assert counts["reviewed"] == {"no": 242}
    sizes = _facet(web_workspace, "group_id")
    several = {name: n for name, n in sizes.items() if name is not None and n > 1}
    assert several
    assert counts["group"] == several | {None: 242 - sum(several.values())}
    largest = [v["frames"] for v in found["facets"]["group"][:-1]]
    assert largest == sorted(largest, reverse=True)
    best = _sql(web_workspace, "SELECT max(score) AS score FROM objects GROUP BY stream_id, frame_idx")
    bins = np.histogram([row["score"] for row in best], 20, (0, 1))[0].tolist()
    assert [counts["score"][n / 20] for n in range(20)] == bins
    assert counts["score"][None] == 242 - len(best)
    name, n = next(iter(several.items()))
    assert server.get("frames", viewer, group=name).json()["total"] == n


def test_kinds_of_which_nothing_is_known_name_the_stage_that_finds_it_out(
    server: Server, viewer: httpx.Headers
) -> None:
    absent = {each["kind"]: each for each in server.get("facets", viewer).json()["absent"]}
    assert absent["caption"]["stage"] == "caption"
    assert absent["caption"]["command"] == "winnow run --input FOLDER --add-stage caption"
    assert not {"keep", "group", "category", "score"} & absent.keys()


def test_words_of_captions_and_scenes_are_kinds(web_workspace: Workspace, tmp_path: Path) -> None:
    shutil.copytree(web_workspace.folder, tmp_path / "tables")
    workspace = Workspace.at(tmp_path / "tables")
    store = Store(workspace.root)
    texts = {0: "The red tram, and a tram stop.", 3: "a boat"}
    captions = [
        {"stage_key": "c", "input_id": 1, "stream_id": "cam", "frame_idx": idx, "caption": text}
        | {"caption_model": "m", "caption_weights": "w"}
        for idx, text in texts.items()
    ]
    scenes = [
        {"stage_key": "s", "input_id": 1, "stream_id": "cam", "scene_idx": n, "start_idx": start, "end_idx": end}
        | {"n_frames": 1, "begins": "cut"}
        for n, start, end in ((0, 0, 9), (1, 10, 200))
    ]
    heads = [
        {"stream_id": "cam", "stage": stage, "stage_key": key, "job_id": "j", "moved_ns": 1}
        for stage, key in (("caption", "c"), ("scenes", "s"))
    ]
    for table, rows in ((schemas.CAPTIONS, captions), (schemas.SCENES, scenes), (schemas.HEADS, heads)):
        store.create_tables([table])
        store.upsert(table, pa.Table.from_pylist(rows, table.arrow_schema), "j")
    server = served(workspace, tmp_path)
    viewer = server.sign_in("viewer", "viewer")
    facets = server.get("facets", viewer).json()["facets"]
    assert _counts(facets["caption"]) == {"tram": 1, "stop": 1, "red": 1, "boat": 1}
    assert _names(server.get("frames", viewer, caption=["tram", "boat"])) == [("cam", 0), ("cam", 3)]
    by_scene = _counts(facets["scene"])
    assert by_scene["0@cam"] == 10
    assert len(_names(server.get("frames", viewer, scene="1@cam", limit=1000))) == by_scene["1@cam"]
    assert sum(by_scene.values()) == 242
