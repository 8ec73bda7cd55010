"""Bad datasets and ground truth: each is taken, or refused with exit code 1 or 2 and short lines, and nothing else."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bad_label_files import damage_dataset, damaged
from tests.helpers import winnow
from tests.test_bad_inputs import SEED, assert_sound, inside, place

__all__ = ["inside", "place"]

EACH = 40
DATASETS = ("coco", "yolo", "voc", "datumaro", "jsonl", "parquet", "webdataset")
TOOLS = ("labelstudio", "cvat")
EVALUATED = 80


@pytest.fixture(scope="module")
def datasets(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound datasets of the workspace, by format."""
    root = tmp_path_factory.mktemp("sound")
    for format_ in DATASETS:
        done = winnow("export", "-w", place / "tables", "--all", "-f", format_, "-o", root / format_)
        assert done.exception is None, done.exception
    for tool in TOOLS:
        shutil.copytree(place / tool, root / tool)
    return root


def every(kind: str, n: int) -> Iterator[random.Random]:
    for at in range(n):
        yield random.Random(f"{SEED} {kind} {at}")


def importing(tables: Path, path: Path, format_: str, *more: str) -> tuple[object, ...]:
    words = ("labels", "import", path, "--format", format_, "--name", "bad", "--skip-unmatched", "--dry-run")
    return (*words, "-w", tables, *more)


@pytest.mark.parametrize("format_", [*DATASETS, *TOOLS])
def test_datasets(inside: Path, datasets: Path, tmp_path: Path, format_: str) -> None:
    # What models found is a suggestion in files of the tool.
    role = ["--as", "suggestion"] if format_ == "labelstudio" else []
    sound = winnow(*importing(inside / "tables", datasets / format_, format_, *role), "--json")
    assert sound.exception is None, sound.exception
    # What is damaged below is read when it is not.
    assert json.loads(sound.stdout.splitlines()[-1])["objects"] == 5
    for rng in every(f"labels {format_}", EACH):
        path = damage_dataset(rng, datasets / format_, tmp_path / "set")
        more = [*role, "--skip-unsupported"] if rng.random() < 0.5 else role
        assert_sound(*importing(inside / "tables", path, format_, *more))
    assert sorted(p.name for p in tmp_path.iterdir()) in (["set"], ["set", "set.zip"])


def test_ground_truth_of_curation(inside: Path, tmp_path: Path) -> None:
    stream = "yard/gate"
    frames = "stream_id,frame_idx,blurry,dark\n" + "".join(f"{stream},{at},{at % 2},no\n" for at in range(6))
    pairs = "stream_id_a,frame_idx_a,stream_id_b,frame_idx_b,duplicate\n" + f"{stream},0,{stream},1,yes\n" * 1
    idle = f"stream_id,start_idx,end_idx\n{stream},0,2\n{stream},4,5\n"
    listed: dict[str, list[dict[str, Any]]] = {
        "frames": [{"stream_id": stream, "frame_idx": at, "dark": at == 1} for at in range(6)],
        "pairs": [
            {"stream_id_a": stream, "frame_idx_a": 0, "stream_id_b": stream, "frame_idx_b": 1, "duplicate": False}
        ],
        "idle": [{"stream_id": stream, "start_idx": 0, "end_idx": 2}],
    }
    texts = {"frames.csv": frames, "pairs.csv": pairs, "idle.csv": idle, "all.json": json.dumps(listed)}
    words = ("evaluate", "curation", "-w", inside / "tables")
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert winnow(*words, "--labels", tmp_path / name).exception is None, name
    for rng in every("curation", EVALUATED):
        name = rng.choice(sorted(texts))
        (tmp_path / name).write_bytes(damaged(rng, name, texts[name].encode()))
        assert_sound(*words, "--labels", tmp_path / name)
        (tmp_path / name).write_text(texts[name])


def test_ground_truth_of_detections(inside: Path, datasets: Path, tmp_path: Path) -> None:
    truth = (datasets / "coco/annotations/instances_default.json").read_bytes()
    read = json.loads(truth)
    results = json.dumps(
        [{name: each[name] for name in ("image_id", "category_id", "bbox", "score")} for each in read["annotations"]]
    ).encode()
    sound = {"truth.json": truth, "results.json": results}
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data)
    ours = ("evaluate", "detections", "-w", inside / "tables", "--truth", tmp_path / "truth.json")
    theirs = (*ours, "--detections", tmp_path / "results.json")
    for words in (ours, theirs):
        assert winnow(*words).exception is None
    for rng in every("detections", EVALUATED):
        name = rng.choice(sorted(sound))
        (tmp_path / name).write_bytes(damaged(rng, name, sound[name]))
        words = theirs if name == "results.json" else rng.choice((ours, theirs))
        assert_sound(*words, "--iou", rng.choice(("bbox", "segm")))
        (tmp_path / name).write_bytes(sound[name])
