"""Literal types of options with a few choices, shared by the command line and the code that it calls."""

from __future__ import annotations

from typing import Literal

OnError = Literal["quarantine", "abort"]
"""What to do with a frame that cannot be computed."""

Balance = Literal["stream", "scene", "hour"]
"""What has equal shares in a sample."""

CompareBy = Literal["layout", "embedding"]
"""What frames are compared by when a sample is chosen."""

IouType = Literal["bbox", "segm"]
"""Which shapes are compared with ground truth."""

QueryFormat = Literal["table", "json", "jsonl", "csv", "parquet"]
"""How the result of a query is printed."""

SubmitTo = Literal["queue", "ray"]
"""Who runs a job that is submitted."""

ExportFormat = Literal["coco", "yolo", "yolo-segment", "yolo-obb", "voc", "jsonl", "parquet", "webdataset", "datumaro"]
"""What a dataset is written as; what each writes is in `jobs.datasets.export_formats.FORMATS`."""

SplitBy = Literal["auto", "time", "track", "scene", "stream", "group"]
"""What stays together in one split of a dataset; `auto` chooses for each stream."""

MediaMode = Literal["copy", "link", "none"]
"""Whether an export copies its images, links to them, or leaves them where they are."""

ReviewFormat = Literal["labelstudio", "cvat", "coco"]
"""The annotation tool that reads and writes a file of reviews."""

LabelFormat = Literal[
    "coco",
    "yolo",
    "yolo-segment",
    "yolo-obb",
    "voc",
    "datumaro",
    "labelstudio",
    "cvat",
    "jsonl",
    "parquet",
    "webdataset",
]
"""The format of a dataset whose labels are imported; what reads each is in `jobs.ingest.label_import.readers`."""

LabelRole = Literal["ground-truth", "suggestion"]
"""Whether imported labels say what is on their frames, or wait for a review."""

LabelledPixels = Literal["auto", "displayed", "stored"]
"""Which pixels of an image that EXIF turns its labels are of; `auto` decides by sizes."""

ReviewedFrames = Literal["all", "changed", "listed"]
"""Which frames of an imported file a person has reviewed."""

RetryOnly = Literal["quarantined"]
"""Which frames of a run are retried."""
MaskDevice = Literal["auto", "cpu"]
