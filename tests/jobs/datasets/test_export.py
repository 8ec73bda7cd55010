from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from blake3 import blake3
from PIL import Image
from pycocotools.coco import COCO

from jobs.core.choices import ExportFormat
from jobs.core.errors import RunFailedError, UserError
from jobs.datasets import release
from jobs.datasets.export import ExportRequest, export
from jobs.datasets.export_classes import ClassChoice
from jobs.datasets.export_formats import FORMATS
from jobs.engine.ray_engine import Engine
from jobs.storage.paths import ObjectPath, place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import copy_stream, go, noise, winnow, write_noise_stream, write_pictures
from transforms.io import object_store


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine) -> tuple[Workspace, Path]:
    """A workspace of two streams that share images, with a release `v1`."""
    root = tmp_path_factory.mktemp("export")
    cam = copy_stream(sample_folder, root / "cam")
    other = write_noise_stream(root / "other", [*range(20), 3, 4])
    workspace = Workspace.at(root / "tables")
    go(workspace, cam, other)
    release.create(Store(workspace.root), "v1")
    return workspace, root


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kept(workspace: Workspace) -> list[tuple[str, int]]:
    rows = View.of(workspace).lazy("curation").filter("keep").select("stream_id", "frame_idx").collect()
    return sorted(rows.rows())


def test_coco_exports_hold_the_kept_frames_with_their_images(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, root = exported
    manifest = export(workspace, ExportRequest("coco", place(tmp_path / "out"), release="v1"))
    loaded = COCO(str(tmp_path / "out/annotations/instances_default.json"))
    images = loaded.loadImgs(loaded.getImgIds())
    assert sorted((i["stream_id"], i["frame_idx"]) for i in images) == kept(workspace)
    for image in images:
        path = tmp_path / "out" / image["file_name"]
        assert path.read_bytes() == (root / image["stream_id"] / path.name).read_bytes()
        with Image.open(path) as opened:
            assert opened.size == (image["width"], image["height"])
    assert manifest["frames"] == {"default": len(images)}
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest


def test_an_export_repeated_is_the_same_to_the_byte(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    for format_ in ("coco", "jsonl", "parquet"):
        for name in ("one", "two"):
            request = ExportRequest(
                format_, place(tmp_path / format_ / name), release="v1", split={"train": 0.7, "val": 0.3}
            )
            export(workspace, request)
        assert tree(tmp_path / format_ / "one") == tree(tmp_path / format_ / "two")


def test_an_export_of_a_release_stays_the_same_after_later_runs(tmp_path: Path, engine: Engine) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(12))
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, cam)
    release.create(Store(workspace.root), "v1")
    export(workspace, ExportRequest("coco", place(tmp_path / "before"), release="v1"))
    write_noise_stream(cam, range(20, 26), start=12)
    go(workspace, cam, settings=["curation.overexposed_mean=1"])
    export(workspace, ExportRequest("coco", place(tmp_path / "after"), release="v1"))
    assert tree(tmp_path / "before") == tree(tmp_path / "after")


def test_tables_hold_all_columns(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    export(workspace, ExportRequest("parquet", place(tmp_path / "p"), everything=True))
    export(workspace, ExportRequest("jsonl", place(tmp_path / "j"), everything=True))
    parquet = pl.read_parquet(tmp_path / "p/frames_default.parquet")
    lines = [json.loads(line) for line in (tmp_path / "j/frames_default.jsonl").read_text().splitlines()]
    assert (
        parquet.height
        == len(lines)
        == View.of(workspace).lazy("frames").filter(pl.col("status") == "ok").collect().height
    )
    assert {"reasons", "phash", "content_hash", "split", "file_name"} <= set(parquet.columns) == set(lines[0])
    assert parquet["reasons"].to_list() == [line["reasons"] for line in lines]


def test_where_and_all_choose_frames(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    some = export(
        workspace, ExportRequest("jsonl", place(tmp_path / "a"), where="frame_idx < 10 AND stream_id = 'cam'")
    )
    assert some["frames"] == {"default": 10}
    more = export(workspace, ExportRequest("jsonl", place(tmp_path / "b"), where="NOT keep", everything=True))
    assert more["frames"]["default"] > 0
    none = export(workspace, ExportRequest("coco", place(tmp_path / "c"), where="false"))
    assert none["frames"] == {}
    words = ("--format", "coco", "--where", "false", "--workspace", workspace.root)
    for more_words in ((), ("--json",)):
        assert winnow("export", *words, "--out", tmp_path / f"e{len(more_words)}", *more_words).exit_code == 1
    with pytest.raises(UserError, match="nonsense"):
        export(workspace, ExportRequest("jsonl", place(tmp_path / "d"), where="nonsense = 1"))
    assert not (tmp_path / "d").exists()


def test_no_group_is_in_two_splits(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    split = {"train": 0.5, "val": 0.3, "test": 0.2}
    request = ExportRequest("parquet", place(tmp_path / "out"), everything=True, split=split, split_by="group")
    manifest = export(workspace, request)
    assert set(manifest["frames"]) == {"train", "val", "test"}
    rows = pl.concat([pl.read_parquet(p) for p in (tmp_path / "out").glob("*.parquet")])
    assert rows.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert rows["group_id"].drop_nulls().is_duplicated().any()


def test_no_stream_is_in_two_splits(tmp_path: Path, engine: Engine) -> None:
    root = tmp_path / "many"
    for number in range(12):
        write_noise_stream(root / f"cam{number}", range(number * 10, number * 10 + 3))
    # Two streams with a common image must not be parted either.
    write_noise_stream(root / "cam0", [110], start=3)
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, root)
    request = ExportRequest(
        "parquet", place(tmp_path / "out"), everything=True, split={"a": 0.5, "b": 0.5}, split_by="stream"
    )
    export(workspace, request)
    rows = pl.concat([pl.read_parquet(p) for p in (tmp_path / "out").glob("*.parquet")])
    splits = dict(rows.select("stream_id", "split").unique().rows())
    assert len(splits) == 12
    assert set(splits.values()) == {"a", "b"}
    assert splits["cam0"] == splits["cam11"]


def test_links_point_to_the_originals(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, root = exported
    export(workspace, ExportRequest("coco", place(tmp_path / "out"), media="link", where="stream_id = 'cam'"))
    links = [p for p in (tmp_path / "out/images").rglob("*") if not p.is_dir()]
    assert links
    assert all(p.is_symlink() and p.resolve().parent == root / "cam" for p in links)


def test_a_changed_image_stops_the_export_and_leaves_no_files(tmp_path: Path, engine: Engine) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(6))
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, cam)
    (cam / "image_2.jpg").write_bytes(b"something else")
    (cam / "image_4.jpg").unlink()
    with pytest.raises(RunFailedError) as caught:
        export(workspace, ExportRequest("coco", place(tmp_path / "out")))
    assert "2 images" in caught.value.problems[0]
    assert sorted(os.listdir(tmp_path)) == ["cam", "tables"]
    assert export(workspace, ExportRequest("coco", place(tmp_path / "out"), media="none"))["frames"] == {"default": 6}


def test_an_earlier_export_is_replaced_and_nothing_else_is(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    export(workspace, ExportRequest("coco", place(tmp_path / "out")))
    export(workspace, ExportRequest("jsonl", place(tmp_path / "out"), overwrite=True))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["frames_default.jsonl", "manifest.json"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all my work")
    with pytest.raises(UserError, match="holds other things"):
        export(workspace, ExportRequest("jsonl", place(mine)))
    assert (mine / "thesis.txt").read_text() == "all my work"


def test_the_manifest_says_which_data_it_is(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    manifest = export(workspace, ExportRequest("jsonl", place(tmp_path / "out"), release="v1"))
    assert manifest["source"]["release"] == "v1"
    assert manifest["source"]["tables"]["frames"] > 0
    stages = {stage for group in manifest["source"]["selections"] for stage in group["stages"]}
    assert {"frames", "curation"} <= stages
    data = (tmp_path / "out/frames_default.jsonl").read_bytes()
    assert manifest["files"] == {"frames_default.jsonl": blake3(data).hexdigest()}


def test_invalid_requests_are_refused(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        export(
            workspace,
            ExportRequest(cast("ExportFormat", "tiff"), place(tmp_path / "file"), split={"train": 0.5, "val": 0.4}),
        )
    assert len(caught.value.problems) == 3
    with pytest.raises(UserError, match="expected one of them"):
        export(workspace, ExportRequest("coco", place(tmp_path / "out"), run="x", release="v1"))


def test_uncurated_frames_are_exported_only_on_request(tmp_path: Path, engine: Engine) -> None:
    workspace = Workspace.at(tmp_path / "tables")
    go(workspace, write_noise_stream(tmp_path / "cam", range(3)), settings=["stages=[quality]"])
    with pytest.raises(UserError, match="--all"):
        export(workspace, ExportRequest("jsonl", place(tmp_path / "out")))
    assert export(workspace, ExportRequest("jsonl", place(tmp_path / "out"), everything=True))["frames"] == {
        "default": 3
    }


def test_a_folder_with_a_manifest_of_another_program_is_left_alone(
    exported: tuple[Workspace, Path], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "manifest.json").write_text('{"name": "app"}')
    (project / "src/main.js").touch()
    with pytest.raises(UserError, match="holds other things than an export"):
        export(exported[0], ExportRequest("jsonl", place(project)))
    assert (project / "src/main.js").exists()


def test_an_export_is_refused_where_foreign_files_are_in_its_folder(
    exported: tuple[Workspace, Path], tmp_path: Path
) -> None:
    request = ExportRequest("jsonl", place(tmp_path / "out"))
    export(exported[0], request)
    (tmp_path / "out/notes.txt").touch()
    with pytest.raises(UserError, match=r"notes\.txt"):
        export(exported[0], request)


def test_what_ultralytics_keeps_next_to_labels_is_replaced_with_them(
    exported: tuple[Workspace, Path], tmp_path: Path
) -> None:
    request = ExportRequest("yolo", place(tmp_path / "out"), everything=True)
    export(exported[0], request)
    cache = tmp_path / "out/labels/default/s.cache"
    cache.write_bytes(b"what was read")
    export(exported[0], request)
    assert not cache.exists()


def test_the_current_folder_can_be_filled(
    exported: tuple[Workspace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(exported[0], ExportRequest("jsonl", place(Path())))
    assert sorted(p.name for p in Path().iterdir()) == ["frames_default.jsonl", "manifest.json"]


@pytest.mark.parametrize(
    "where", ["1=1) OR (1=1", "true UNION ALL SELECT 1", "keep FROM curated", "true, false", "1 ="]
)
def test_a_condition_cannot_escape_its_brackets(exported: tuple[Workspace, Path], tmp_path: Path, where: str) -> None:
    with pytest.raises(UserError, match="expected one SQL expression"):
        export(exported[0], ExportRequest("jsonl", place(tmp_path / "out"), where=where))


def test_a_split_that_nothing_falls_into_is_refused(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    split = {"train": 0.5, "val": 0.5}
    with pytest.raises(UserError, match="no frame fits, so that there is nothing to split"):
        export(exported[0], ExportRequest("coco", place(tmp_path / "out"), where="false", split=split))
    one = ExportRequest("coco", place(tmp_path / "out"), where="stream_id = 'other' AND frame_idx = 0", split=split)
    with pytest.raises(UserError, match=r"no frame fell into \w+ \(.*\); groups of duplicates that stay together: 1"):
        export(exported[0], one)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format_", ["coco", "yolo", "voc", "datumaro"])
def test_an_export_is_refused_where_foreign_files_are_among_its_images(
    exported: tuple[Workspace, Path], tmp_path: Path, format_: ExportFormat
) -> None:
    request = ExportRequest(format_, place(tmp_path / "out"), where="stream_id = 'cam'")
    export(exported[0], request)
    export(exported[0], request)
    folder = next(p for p in (tmp_path / "out").rglob("*.jpg")).parent
    mine = folder / "image_123456.jpg"
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"image_123456\.jpg"):
        export(exported[0], request)
    assert mine.read_text() == "mine"


def test_an_export_to_a_bucket_is_refused_where_foreign_files_are_among_its_images(
    exported: tuple[Workspace, Path], bucket: str
) -> None:
    request = ExportRequest("coco", ObjectPath(f"{bucket}/set"), where="stream_id = 'cam' AND frame_idx < 10")
    export(exported[0], request)
    export(exported[0], request)
    object_store.put(f"{bucket}/set/images/mine.txt", b"mine")
    with pytest.raises(UserError, match=r"images/mine\.txt"):
        export(exported[0], request)
    assert ObjectPath(f"{bucket}/set/images/mine.txt").read() == b"mine"


def test_ultralytics_finds_the_labels_of_streams_with_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "conf"))
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    names = ("images", "labels", "train", "yard")
    streams = [write_walk(tmp_path / "cams" / name) for name in names]
    workspace = Workspace.at(tmp_path / "tables")
    settings = ["stages=[frames, annotate]", "annotate.detector=motion", "annotate.frames=all"]
    go(workspace, *streams, settings=settings)
    whole = export(workspace, ExportRequest("yolo", place(tmp_path / "out"), everything=True))
    assert sorted(p.name for p in (tmp_path / "out/images/default").iterdir()) == [
        "images_",
        "labels_",
        "train_",
        "yard",
    ]
    described = check_det_dataset(str(tmp_path / "out/data.yaml"), autodownload=False)
    read = YOLODataset(img_path=described["train"], data=described, task="detect", imgsz=64, augment=False)
    assert len(read.labels) == whole["frames"]["default"] == 4 * 16
    assert sum(len(label["cls"]) for label in read.labels) == whole["objects"] > 0
    condition = "objects.category = 'moving' AND objects.score > 0 AND stream_id = 'yard'"
    some: dict[str, Any] = {"where": condition, "everything": True}
    shown = export(workspace, ExportRequest("jsonl", place(tmp_path / "some"), **some))
    lines = [json.loads(line) for line in (tmp_path / "some/frames_default.jsonl").read_text().splitlines()]
    assert 0 < len(lines) < 16
    assert all(line["annotations"] and line["stream_id"] == "yard" for line in lines)
    named = ExportRequest("jsonl", place(tmp_path / "car"), classes=ClassChoice(("car",), {"moving": "car"}), **some)
    made = export(workspace, named)
    assert (made["objects"], made["classes"]["order"]) == (shown["objects"], ["car"])
    one: dict[str, Any] = {"where": "stream_id = 'yard'", "everything": True}
    export(workspace, ExportRequest("yolo", place(tmp_path / "one"), **one))
    assert len(list((tmp_path / "one/images/default").glob("*.png"))) == 16
    assert len(list((tmp_path / "one/labels/default").glob("*.txt"))) == 16
    export(workspace, ExportRequest("voc", place(tmp_path / "voc"), **one))
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    flat = sv.DetectionDataset.from_pascal_voc(str(tmp_path / "voc/JPEGImages"), str(tmp_path / "voc/Annotations"))
    assert len(flat) == 16
    assert sum(len(found) for _, _, found in flat) > 0


def write_walk(folder: Path) -> Path:
    """Write 16 frames of a fixed scene through which a bright square goes."""
    pictures = [noise(1) // 2 for _ in range(16)]
    for at, picture in enumerate(pictures):
        picture[30:55, 8 * at : 8 * at + 25] = 250
    return write_pictures(folder, pictures)


def test_frames_that_were_never_annotated_are_counted(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    made = export(exported[0], ExportRequest("yolo", place(tmp_path / "out")))
    assert made["not_annotated"] == made["frames"]["default"]
    assert "objects" not in made


def test_a_dataset_of_another_release_or_workspace_is_not_replaced(
    exported: tuple[Workspace, Path], tmp_path: Path, engine: Engine
) -> None:
    workspace, _ = exported
    out = place(tmp_path / "out")
    export(workspace, ExportRequest("jsonl", out, release="v1"))
    export(workspace, ExportRequest("jsonl", out, release="v1"))
    with pytest.raises(UserError, match=r"holds a dataset of release v1; .* replace it with --overwrite"):
        export(workspace, ExportRequest("jsonl", out))
    export(workspace, ExportRequest("jsonl", out, overwrite=True))
    with pytest.raises(UserError, match="holds a dataset of no release"):
        export(workspace, ExportRequest("jsonl", out, release="v1"))
    other = Workspace.at(tmp_path / "tables")
    go(other, write_noise_stream(tmp_path / "cam", range(3)))
    with pytest.raises(UserError, match="holds a dataset of another workspace"):
        export(other, ExportRequest("jsonl", out))
    assert export(other, ExportRequest("jsonl", out, overwrite=True))["frames"] == {"default": 3}


def test_a_dataset_in_another_format_is_not_replaced(exported: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = exported
    out = place(tmp_path / "out")
    # Those of masks are refused here for want of a model.
    formats = [name for name, kind in FORMATS.items() if not kind.by_masks]
    for before, after in pairwise([*formats, formats[0]]):
        export(workspace, ExportRequest(before, out, overwrite=True))
        with pytest.raises(UserError, match=f"holds a dataset in format {before}; .* replace it with --overwrite"):
            export(workspace, ExportRequest(after, out))
        assert json.loads((tmp_path / "out/manifest.json").read_text())["format"] == before
