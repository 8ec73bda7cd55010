from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3
from PIL import Image

import schemas
from conf import load
from jobs.stages.build import pixel_params
from tests.helpers import SMALL, write_noise_stream
from transforms.core.identity import content_id, pair_ids, stat_ids
from transforms.frames.pixel_block import EVERY_STAGE, FAULT, KNOWN, block_schema, have
from transforms.metrics.measure import PixelParams, measure_frames
from transforms.metrics.sketch import SIZE

PARAMS = pixel_params(load().config)
TABLES = {"frames": schemas.FRAMES} | {stage.name: stage.table for stage in PARAMS.measures}
STAGES = tuple(TABLES)


def block(uris: Iterable[Path], **columns: list[Any]) -> pa.Table:
    """Return a block of consecutive frames without earlier results, apart from the given columns."""
    paths = [str(p) for p in uris]
    n = len(paths)
    rows: dict[str, list[Any]] = {
        "block": [5] * n,
        "stream_id": ["s"] * n,
        "frame_idx": list(range(n)),
        "uri": paths,
        "t_ns": [None] * n,
        "time_source": [None] * n,
        "trusted_id": [None] * n,
        "known": [None] * n,
        "follows": [i > 0 for i in range(n)],
        "wanted": [True] * n,
        "share": [EVERY_STAGE] * n,
        **{have(stage.name): [None] * n for stage in PARAMS.measures},
    }
    return pa.table(rows | columns, schema=block_schema(STAGES[1:]))


def measured(rows: pa.Table, params: PixelParams = PARAMS) -> dict[str, list[dict[str, Any]]]:
    """Measure a block and return each table's new rows; they must fit their tables."""
    result = measure_frames(rows, params)
    assert result.num_rows == 1
    for name, table in TABLES.items():
        flat = result[name].combine_chunks().flatten()
        table.check(pa.Table.from_struct_array(flat).cast(table.file_schema))
    assert result["block"].to_pylist() == [5]
    counts = {n: result[n][0].as_py() for n in ("n_frames", "n_read", "n_decoded", "bytes_read")}
    return {name: result[name][0].as_py() for name in (*TABLES, "quarantine")} | {"counts": [counts]}


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Write four dissimilar frames."""
    write_noise_stream(tmp_path, range(4))
    return [tmp_path / f"image_{i}.jpg" for i in range(4)]


def ident(path: Path) -> int:
    return content_id(blake3(path.read_bytes()).digest())


def pair(path: Path, before: Path | None) -> int:
    import numpy as np

    last = ident(before) if before else 0
    return int(pair_ids(np.array([ident(path)]), np.array([last]), np.array([before is not None]))[0])


def test_every_table_gets_a_row_per_frame_from_one_read_and_one_decode(frames: list[Path]) -> None:
    found = measured(block(frames))
    assert [len(found[name]) for name in STAGES] == [4, 4, 4, 4]
    # Every file is encoded separately.
    assert [len(row["sketch"]) for row in found["motion"]] == [2 * SIZE] * 4
    assert found["counts"] == [
        {"n_frames": 4, "n_read": 4, "n_decoded": 4, "bytes_read": sum(p.stat().st_size for p in frames)}
    ]
    first = found["frames"][0]
    assert first["content_hash"] == blake3(frames[0].read_bytes()).hexdigest()
    assert (first["width"], first["height"], first["format"], first["status"]) == (160, 90, "jpeg", "ok")
    assert [row["input_id"] for row in found["quality"]] == [ident(p) for p in frames]
    assert [row["input_id"] for row in found["motion"]] == [
        pair(path, before) for path, before in zip(frames, [None, *frames], strict=False)
    ]
    assert found["motion"][0]["motion"] is None
    assert all(row["motion"] > 0.05 for row in found["motion"][1:])


def test_tiles_are_stored_of_some_frames_with_or_without_a_predecessor(frames: list[Path]) -> None:
    follows = [False, True, False, True]
    found = measured(block(frames, frame_idx=[0, 1, 7, 14], follows=follows))["motion"]
    assert [None if row["tiles"] is None else len(row["tiles"]) for row in found] == [576, None, None, None]
    found = measured(block(frames, frame_idx=[6, 7, 14, 21], follows=follows))["motion"]
    assert [row["tiles"] is None for row in found] == [True, True, True, True]
    found = measured(block(frames, frame_idx=[13, 15, 29, 35], follows=follows))["motion"]
    assert [row["tiles"] is None for row in found] == [True, False, False, True]


def test_existing_rows_are_not_recomputed(frames: list[Path]) -> None:
    ids = [ident(p) for p in frames]
    pairs = [pair(p, b) for p, b in zip(frames, [None, *frames], strict=False)]
    done: dict[str, list[Any]] = {
        "trusted_id": ids,
        "have_quality": ids,
        "have_fingerprints": ids,
        "have_motion": pairs,
    }
    found = measured(block(frames, **done))
    assert [found[name] for name in STAGES] == [[], [], [], []]
    assert found["counts"][0]["n_read"] == 0
    only = measured(block(frames, **{**done, "have_quality": [None] * 4}))
    assert [len(only[name]) for name in STAGES] == [0, 4, 0, 0]
    assert only["counts"][0]["n_decoded"] == 4


def test_a_frame_after_a_gap_has_no_motion(frames: list[Path]) -> None:
    found = measured(block(frames, follows=[False, True, False, True]))
    assert [row["motion"] is None for row in found["motion"]] == [True, False, True, False]
    assert found["motion"][2]["input_id"] == pair(frames[2], None)


def test_a_predecessor_is_only_read_for_its_pixels(frames: list[Path]) -> None:
    whole = measured(block(frames))["motion"]
    rest = block(frames[1:], frame_idx=[1, 2, 3], wanted=[False, True, True])
    found = measured(rest)
    assert [row["frame_idx"] for row in found["frames"]] == [2, 3]
    assert found["motion"] == whole[2:]
    assert found["counts"][0]["n_frames"] == 2


def test_a_touched_file_is_hashed_and_not_decoded(frames: list[Path]) -> None:
    first = measured(block(frames))
    known = [{k: row[k] for k in KNOWN.names} for row in first["frames"]]
    ids = [ident(p) for p in frames]
    pairs = [row["input_id"] for row in first["motion"]]
    again = measured(block(frames, known=known, have_quality=ids, have_fingerprints=ids, have_motion=pairs))
    assert [len(again[name]) for name in STAGES] == [4, 0, 0, 0]
    assert (again["counts"][0]["n_read"], again["counts"][0]["n_decoded"]) == (4, 0)
    unstamped = [{k: v for k, v in row.items() if k != "stat_id"} for row in again["frames"]]
    assert unstamped == [{k: v for k, v in row.items() if k != "stat_id"} for row in first["frames"]]


def test_a_replaced_file_changes_its_own_rows_and_the_next_motion(frames: list[Path]) -> None:
    first = measured(block(frames))
    known = [{k: row[k] for k in KNOWN.names} for row in first["frames"]]
    ids = [ident(p) for p in frames]
    pairs = [row["input_id"] for row in first["motion"]]
    frames[1].write_bytes(SMALL.file(0))
    trusted = [ids[0], None, ids[2], ids[3]]
    found = measured(
        block(
            frames,
            trusted_id=trusted,
            known=[None, known[1], None, None],
            have_quality=ids,
            have_fingerprints=ids,
            have_motion=pairs,
        )
    )
    changed = {name: [row["frame_idx"] for row in found[name]] for name in STAGES}
    assert changed == {"frames": [1], "quality": [1], "fingerprints": [1], "motion": [1, 2]}
    assert found["motion"][1]["input_id"] == pair(frames[2], frames[1])


def test_trusted_files_with_changed_contents_are_measured_by_their_contents(frames: list[Path]) -> None:
    stale = [ident(p) + 1 for p in frames]
    found = measured(block(frames, trusted_id=stale))
    assert [row["input_id"] for row in found["frames"]] == [ident(p) for p in frames]
    assert [row["input_id"] for row in found["quality"]] == [ident(p) for p in frames]


@pytest.mark.parametrize("data", [b"", b"no image", SMALL.file(0)[:4000]])
def test_frames_that_do_not_decode_give_a_corrupt_row_of_nulls(frames: list[Path], data: bytes) -> None:
    frames[1].write_bytes(data)
    found = measured(block(frames))
    assert [row["status"] for row in found["frames"]] == ["ok", "corrupt", "ok", "ok"]
    assert found["frames"][1]["error"]
    assert found["quality"][1]["laplacian_var"] is None
    assert found["fingerprints"][1]["phash"] is None
    assert [row["motion"] is None for row in found["motion"]] == [True, True, True, False]
    assert found["quarantine"] == []


def test_damage_and_the_white_level_are_recorded(frames: list[Path]) -> None:
    data = frames[0].read_bytes()
    frames[1].write_bytes(data[:-2])
    middle = 2 * len(data) // 3
    frames[2].write_bytes(data[:middle] + bytes(300) + data[middle + 300 :])
    frames[3].write_bytes(data[:4000])
    found = measured(block(frames))["frames"]
    assert [row["damage"] for row in found] == ["none", "minor", "data", None]
    assert [row["status"] for row in found] == ["ok", "ok", "ok", "corrupt"]
    frames[1].write_bytes(cv2.imencode(".png", np.full((90, 160), 4000, np.uint16))[1].tobytes())
    (row,) = measured(block(frames[1:2]))["frames"]
    assert (row["white_level"], row["damage"]) == (4095.0, "none")
    (quality,) = measured(block(frames[1:2]))["quality"]
    assert round(quality["luma_mean"]) == round(4000 / 4095 * 255)


def test_frames_that_cannot_be_read_are_quarantined_for_every_stage(frames: list[Path]) -> None:
    frames[2].unlink()
    found = measured(block(frames))
    assert [row["frame_idx"] for row in found["frames"]] == [0, 1, 3]
    faults = [(row["frame_idx"], row["stage"]) for row in found["quarantine"]]
    assert faults == [(2, "fingerprints"), (2, "frames"), (2, "motion"), (2, "quality"), (3, "motion")]
    assert found["quarantine"][0]["error_type"] == "FileNotFoundError"
    assert set(found["quarantine"][0]) == {f.name for f in FAULT}
    assert [row["frame_idx"] for row in found["motion"]] == [0, 1]


def test_only_the_requested_stages_are_computed(frames: list[Path]) -> None:
    result = measure_frames(block(frames), PARAMS.only("fingerprints"))
    assert [result["frames"][0].as_py(), len(result["fingerprints"][0])] == [[], 4]
    assert not {"quality", "motion"} & set(result.column_names)


def test_results_do_not_depend_on_where_a_block_is_cut(sample_folder: Path) -> None:
    paths = sorted(sample_folder.glob("*.jpg"), key=lambda p: int(p.stem.split("_")[1]))
    index = [int(p.stem.split("_")[1]) for p in paths]
    follows = [False, *(b - a == 1 for a, b in itertools.pairwise(index))]
    whole = measured(block(paths, frame_idx=index, follows=follows))
    cut = 37
    first = measured(block(paths[:cut], frame_idx=index[:cut], follows=follows[:cut]))
    rest = measured(
        block(
            paths[cut - 1 :],
            frame_idx=index[cut - 1 :],
            follows=[False, *follows[cut:]],
            wanted=[False] + [True] * (len(paths) - cut),
        )
    )
    for name in STAGES:
        assert first[name] + rest[name] == whole[name], name


def test_stat_ids_are_those_of_the_listing(frames: list[Path]) -> None:
    import os

    import numpy as np

    for path in frames:
        os.utime(path, ns=(0, 1_000_000_000_123_456_789))
    found = measured(block(frames))["frames"]
    sizes = np.array([p.stat().st_size for p in frames])
    times = np.array([p.stat().st_mtime_ns for p in frames])
    assert [row["stat_id"] for row in found] == stat_ids(pa.array([str(p) for p in frames]), sizes, times).tolist()


def test_a_file_read_right_after_it_was_written_is_not_trusted(frames: list[Path]) -> None:
    import os
    import time

    # Whole seconds, as file systems with a coarse clock report them.
    os.utime(frames[0], ns=(0, time.time_ns() // 10**9 * 10**9))
    os.utime(frames[1], ns=(0, time.time_ns() - 10**9 + 1))
    found = measured(block(frames[:2]))["frames"]
    assert found[0]["stat_id"] == 0
    assert found[1]["stat_id"] != 0


def test_the_time_is_the_listed_one_or_that_of_the_exif_data(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:01:15 10:30:47"
    paths = [tmp_path / f"{n}.jpg" for n in range(3)]
    for path, data in zip(paths, (exif, exif, Image.Exif()), strict=True):
        Image.new("L", (64, 48), 99).save(path, exif=data)
    times: dict[str, list[Any]] = {"t_ns": [None, 17, None], "time_source": [None, "name", None]}
    found = measured(block(paths, **times))["frames"]
    assert [(row["t_ns"], row["time_source"]) for row in found] == [
        (1705314647 * 10**9, "exif"),
        (17, "name"),
        (None, None),
    ]
