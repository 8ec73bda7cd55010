"""Formats of exports: what writes their files, and what each does with images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jobs.core.choices import ExportFormat, MediaMode
from jobs.datasets import tabular
from jobs.datasets.export_objects import nested
from jobs.datasets.media import Level
from transforms.formats.exports import voc, yolo
from transforms.formats.exports.coco import coco_files
from transforms.formats.exports.datumaro import datumaro_files
from transforms.formats.exports.objects import Objects
from transforms.formats.exports.voc import voc_files
from transforms.formats.exports.yolo import yolo_files

_Files = Callable[[pa.Table, Sequence[str], Objects | None], dict[str, bytes]]


@dataclass(frozen=True)
class Format:
    """An export format; `images` is the folder of its images, `allowed` the values of `media` that it supports.

    `of_one_stream`: the folders of images, below that one, where they are of one stream alone.
    """

    files: _Files
    media: MediaMode
    images: str = "images/"
    allowed: tuple[MediaMode, ...] = ("copy", "link", "none")
    by_masks: bool = False
    packed: bool = False
    of_one_stream: tuple[Level, ...] = ("split", "stream")


def _tabular(kind: str) -> _Files:
    def files(rows: pa.Table, splits: Sequence[str], objects: Objects | None = None) -> dict[str, bytes]:
        rows = nested(rows, objects) if objects else rows
        parts = {split: rows.filter(pc.equal(rows["split"], split)) for split in sorted(splits)}
        return {f"frames_{split}.{kind}": tabular.render(part, kind) for split, part in parts.items()}

    return files


FORMATS: Mapping[ExportFormat, Format] = {
    "coco": Format(coco_files, "copy"),
    "jsonl": Format(_tabular("jsonl"), "none"),
    "parquet": Format(_tabular("parquet"), "none"),
    # Readers find label files by the paths of the images.
    "yolo": Format(yolo_files("detect"), "copy", yolo.IMAGES, ("copy", "link"), of_one_stream=("split",)),
    "yolo-segment": Format(
        yolo_files("segment"), "copy", yolo.IMAGES, ("copy", "link"), True, of_one_stream=("split",)
    ),
    "yolo-obb": Format(yolo_files("obb"), "copy", yolo.IMAGES, ("copy", "link"), True, of_one_stream=("split",)),
    "voc": Format(voc_files, "copy", voc.IMAGES, ("copy", "link"), of_one_stream=()),
    "datumaro": Format(datumaro_files, "copy"),
    "webdataset": Format(lambda rows, splits, objects: {}, "copy", allowed=("copy",), packed=True),
}
