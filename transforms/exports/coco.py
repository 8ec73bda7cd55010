"""COCO: https://cocodataset.org/#format-data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def coco_files(rows: pa.Table, splits: Sequence[str]) -> dict[str, bytes]:
    """Return one `annotations/instances_SPLIT.json` per split, also for those that no row is in.

    Image ids count from 1 in the order of the rows, over all splits, so that they do not depend on how a set is split.
    Frames without annotations stay: they are negatives. `stream_id` and `frame_idx` are added to each image.
    """
    numbered = rows.append_column("id", pa.array(range(1, rows.num_rows + 1), pa.int64()))
    columns = ["id", "file_name", "width", "height", "stream_id", "frame_idx"]
    files = {}
    for split in sorted(splits):
        images = numbered.filter(pc.equal(numbered["split"], split)).select(columns).to_pylist()
        document: dict[str, Any] = {
            "info": {"description": f"frames curated by Winnow, split {split}"},
            "licenses": [],
            "images": images,
            "annotations": [],
            "categories": [],
        }
        files[f"annotations/instances_{split}.json"] = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    return files
