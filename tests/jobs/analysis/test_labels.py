from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.analysis.labels import read_labels
from jobs.core.errors import UserError


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems(*paths: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_labels(paths)
    return caught.value.problems


def test_the_kind_of_csv_is_known_by_its_header(tmp_path: Path) -> None:
    frames = written(tmp_path / "f.csv", "stream_id,frame_idx,blurry,dark\ncam,3,1,\ncam,4,no,TRUE\n")
    pairs = written(tmp_path / "p.csv", "stream_id_a,frame_idx_a,stream_id_b,frame_idx_b,duplicate\ncam,3,b,4,0\n")
    idle = written(tmp_path / "i.csv", "stream_id,start_idx,end_idx\ncam,5,9\nb,,\n")
    found = read_labels([frames, pairs, idle])
    assert found.frames.select("stream_id", "frame_idx", "blurry", "dark").rows() == [
        ("cam", 3, True, None),
        ("cam", 4, False, True),
    ]
    assert found.frames["overexposed"].to_list() == [None, None]
    assert found.pairs.rows() == [("cam", 3, "b", 4, False)]
    assert found.idle.rows() == [("cam", 5, 9), ("b", None, None)]


def test_json_holds_all_kinds(tmp_path: Path) -> None:
    document = {
        "frames": [{"stream_id": "cam", "frame_idx": 3, "blurry": True}],
        "pairs": [{"stream_id_a": "a", "frame_idx_a": 1, "stream_id_b": "b", "frame_idx_b": 2, "duplicate": True}],
        "idle": [{"stream_id": "cam", "start_idx": 1, "end_idx": 2}],
    }
    found = read_labels([written(tmp_path / "l.json", json.dumps(document))])
    assert (found.frames.height, found.pairs.height, found.idle.height) == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "stream_id,frame_idx,blury\ncam,3,1\n", "frames have no column 'blury'; there are: stream_id"),
        ("a.csv", "stream_id,frame_idx,blurry\ncam,3,maybe\n", "a.csv, line 2: blurry: expected 1, 0, true"),
        ("a.csv", "stream_id,frame_idx,blurry\ncam,x,1\n", "a.csv, line 2: frame_idx: expected a frame number"),
        ("a.csv", "stream_id,frame_idx,blurry\ncam,,1\n", "a.csv, line 2: frame_idx is missing"),
        ("a.csv", "name,sharp\nx,1\n", "expected a header with stream_id"),
        ("a.csv", "stream_id,frame_idx,blurry\n", "expected at least one label, found none"),
        ("a.csv", "", "expected a header"),
        ("a.csv", "stream_id;frame_idx;blurry\ncam;1;0\n", "found 'stream_id;frame_idx;blurry'"),
        ("a.csv", "frame_idx,blurry\n1,0\n", "line 1: frames need the columns stream_id as well"),
        ("a.csv", "stream_id,frame_idx,dark,dark\ncam,1,0,1\n", "line 1: expected each column once"),
        (
            "a.csv",
            "stream_id,frame_idx,blurry\ncam,2,1\n\ncam,1,0,7\n",
            "line 4: expected 3 values (stream_id,frame_idx,blurry), found 4; leave one empty where it is unknown",
        ),
        ("a.csv", "stream_id,frame_idx,blurry\ncam,1\n", "line 2: expected 3 values"),
        ("a.csv", 'stream_id,frame_idx,blurry\n"cam"x,1,0\n', "line 2: ',' expected after"),
        ("a.csv", f"stream_id,frame_idx,dark\ncam,{'9' * 23},1\n", "line 2: frame_idx: expected a frame number, up to"),
        ("a.csv", f"stream_id,frame_idx,dark\ncam,{'9' * 5000},1\n", "frame_idx: expected a frame number, up to"),
        ("a.csv", "stream_id,frame_idx,dark\ncam,\u00b2,1\n", "line 2: frame_idx: expected a frame number, found"),
        (
            "a.csv",
            "stream_id,start_idx,end_idx\ncam,50,10\n",
            "line 2: expected end_idx at or after start_idx, found 50 to 10; swap them",
        ),
        ("a.csv", "stream_id,start_idx,end_idx\ncam,50,\n", "line 2: end_idx is missing; give both ends, or neither"),
        ("a.csv", "stream_id,start_idx,end_idx\n,1,2\n", "line 2: stream_id is missing"),
        (
            "a.csv",
            "stream_id,start_idx,end_idx\ncam,20,80\ncam,0,50\n",
            "line 2: cam is idle from 20 to 80, but line 3 says 0 to 50; let no two rows share a frame",
        ),
        (
            "a.csv",
            "stream_id,start_idx,end_idx\ncam,20,80\ncam,,\n",
            "line 2: cam is idle from 20 to 80, but line 3 says none",
        ),
        (
            "a.csv",
            "stream_id,frame_idx,blurry\ncam,1,0\ncam,1,1\n",
            "line 3: cam 1 is blurry, but line 2 says otherwise; keep the one that is true",
        ),
        (
            "a.csv",
            "stream_id_a,frame_idx_a,stream_id_b,frame_idx_b,duplicate\ncam,1,cam,2,1\ncam,2,cam,1,0\n",
            "line 3: cam 2 and cam 1 are no duplicates, but line 2 says otherwise",
        ),
        (
            "a.csv",
            "stream_id_a,frame_idx_a,stream_id_b,frame_idx_b,duplicate\ncam,1,cam,1,1\n",
            "line 2: expected two frames, found the same one twice",
        ),
        ("a.json", '{"frames": [{"stream_id": [1], "frame_idx": 1}]}', "frames, row 1: stream_id: expected the name"),
        ("a.json", "[1]", "expected an object with lists under frames, pairs, idle"),
        ("a.json", '{"frames": [1]}', "frames: expected a list of objects"),
        ("a.json", "{", "Expecting property name"),
    ],
)
def test_problems_are_reported(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert expected in problems(written(tmp_path / name, text))[0]


def test_every_wrong_file_is_named(tmp_path: Path) -> None:
    assert len(problems(tmp_path / "none.csv", written(tmp_path / "b.json", "[]"))) == 2


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    rows = "cam,x,1\ncam,2,maybe\ncam,3\n"
    found = problems(written(tmp_path / "a.csv", f"stream_id,frame_idx,blurry\n{rows}"))
    assert sorted(text.split(", ")[1].partition(":")[0] for text in found) == ["line 2", "line 3", "line 4"]
    found = problems(written(tmp_path / "b.csv", "stream_id,frame_idx,blurry\n" + "cam,x,1\n" * 30))
    assert len(found) == 21
    assert found[-1].endswith("10 more problems like these")


def test_an_invalid_byte_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"stream_id,frame_idx,blurry\nb\xe9d,1,0\n")
    assert "line 2: expected text in UTF-8, found byte 0xe9" in problems(path)[0]


def test_repeated_labels_count_once(tmp_path: Path) -> None:
    frames = written(tmp_path / "f.csv", "stream_id,frame_idx,blurry,dark\ncam,1,1,\ncam,1,1,0\n")
    pairs = written(
        tmp_path / "p.csv",
        "stream_id_a,frame_idx_a,stream_id_b,frame_idx_b,duplicate\ncam,1,b,2,1\nb,2,cam,1,1\n",
    )
    idle = written(tmp_path / "i.csv", "\ufeffstream_id,start_idx,end_idx\r\ncam,5,9\r\ncam,5,9\r\nb,,\r\nb,,\r\n")
    found = read_labels([frames, pairs, idle, idle])
    assert found.frames.select("blurry", "dark").rows() == [(True, False)]
    assert found.pairs.height == 1
    assert found.idle.rows() == [("cam", 5, 9), ("b", None, None)]


def test_files_that_contradict_one_another_are_named(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", "stream_id,frame_idx,dark\ncam,1,0\n")
    second = written(tmp_path / "b.csv", "stream_id,frame_idx,dark\ncam,1,1\n")
    (found,) = problems(first, second)
    assert (
        found
        == f"labels {second}, line 2: cam 1 is dark, but {first}, line 2 says otherwise; keep the one that is true"
    )
