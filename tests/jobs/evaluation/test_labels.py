from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.errors import UserError
from jobs.evaluation.labels import read_labels


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems(*paths: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_labels(paths)
    return caught.value.problems


def test_csv_is_told_apart_by_its_header(tmp_path: Path) -> None:
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
        ("a.csv", "stream_id,frame_idx,blurry\ncam,3,maybe\n", "frames, row 1, blurry: expected 1, 0, true"),
        ("a.csv", "stream_id,frame_idx,blurry\ncam,x,1\n", "frames, row 1, frame_idx: expected a frame number"),
        ("a.csv", "stream_id,frame_idx,blurry\ncam,,1\n", "frames, row 1: frame_idx is missing"),
        ("a.csv", "name,sharp\nx,1\n", "expected a header with stream_id"),
        ("a.csv", "stream_id,frame_idx,blurry\n", "expected at least one label, found none"),
        ("a.csv", "", "expected a header"),
        ("a.json", "[1]", "expected an object with lists under frames, pairs, idle"),
        ("a.json", '{"frames": [1]}', "frames: expected a list of objects"),
        ("a.json", "{", "Expecting property name"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, expected: str) -> None:
    assert expected in problems(written(tmp_path / name, text))[0]


def test_every_wrong_file_is_named(tmp_path: Path) -> None:
    assert len(problems(tmp_path / "none.csv", written(tmp_path / "b.json", "[]"))) == 2
