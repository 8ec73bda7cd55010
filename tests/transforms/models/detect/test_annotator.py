from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

import schemas
from tests.helpers import noise
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import ImageParams
from transforms.models.detect.annotator import MotionAnnotator
from transforms.models.detect.detections import Thresholds
from transforms.models.detect.motion_boxes import MotionBoxParams
from transforms.models.inference import REQUEST, WindowedModel, infer_windowed

N, CONTEXT, BAD, GAP_AT = 40, 9, 20, 24


def test_an_unreadable_frame_gives_faults_for_the_frames_of_its_window(tmp_path: Path) -> None:
    rows = []
    with Clips() as clips:
        for at in range(N):
            still = noise(1, 90, 160) // 2
            still[30:45, 3 * at : 3 * at + 15] = 240
            uri = str(tmp_path / f"image_{at}.png")
            cv2.imwrite(uri, still)
            content = open_frame(uri, None, ImageParams(), clips).content()
            place = {"block": 0, "stream_id": "cam", "frame_idx": at, "uri": uri, "input_id": content}
            asked = {"replaces": False, "wanted": at >= CONTEXT, "window_id": at, "follows": at not in {0, GAP_AT}}
            rows.append(place | {"width": 160, "height": 90} | asked)
    block = pa.Table.from_pylist(rows, REQUEST)
    model = MotionAnnotator(MotionBoxParams(history=CONTEXT), Thresholds(0.2, 1, 10), "key")
    assert isinstance(model, WindowedModel)
    whole = infer_windowed(block, model, ("annotate",), ImageParams(), 2)
    assert (whole.faults, whole.n_decoded) == ([], N)
    for name, table in whole.rows.items():
        schemas.BY_NAME[name].check(table)
    assert whole.rows["annotated"]["frame_idx"].to_pylist() == list(range(CONTEXT, N))
    assert whole.rows["annotated"]["input_id"].to_pylist() == list(range(CONTEXT, N))
    seen = np.array(whole.rows["annotated"]["n_objects"].to_pylist())
    # The history is reset at the gap.
    assert seen.tolist() == [0 if GAP_AT <= n < GAP_AT + 5 else 1 for n in range(CONTEXT, N)]
    Path(str(rows[BAD]["uri"])).write_bytes(b"something else")
    part = infer_windowed(block, model, ("annotate",), ImageParams(), 2)
    assert [(f["frame_idx"], f["error_type"]) for f in part.faults] == [
        (n, "ContentChangedError") for n in range(BAD, GAP_AT)
    ]
    left = [n for n in range(CONTEXT, N) if not BAD <= n < GAP_AT]
    assert part.rows["annotated"]["frame_idx"].to_pylist() == left
    assert part.rows["annotated"]["n_objects"].to_pylist() == [seen[n - CONTEXT] for n in left]
