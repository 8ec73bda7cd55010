"""Worker of the pixel pass: measures a block of frames and writes its rows. It imports little, to start fast."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.core.memory import keep_freed
from jobs.core.os_errors import as_problem
from jobs.storage import paths
from jobs.storage.data_files import Part, write_part
from jobs.storage.image_files import ImageFolder
from transforms.frames.pixel_block import FAULT, TALLY, VERIFIED
from transforms.metrics.measure import PixelParams, measure_frames

RECEIPT = pa.schema(
    [
        *(pa.field(name, pa.int64()) for name in (*TALLY, "finished_ns", "n_corrupt")),
        pa.field("verified", VERIFIED),
        pa.field("parts", pa.list_(pa.string())),
        pa.field("faults", pa.list_(FAULT)),
        pa.field("error", pa.string()),
        pa.field("machine", pa.string()),
        pa.field("seen", pa.string()),
    ]
)
"""What a worker reports of a block: what it cost, the parts it wrote as JSON, the frames that failed, and where it was.

`machine` is the host, and behind a colon the process of Ray's node there, if it is one's: a host may have several.
`seen` is what `objects_seen` returned, null for blocks of other stages.
"""


_LOOK_S, _LOOK_FAR_S = 0.1, 0.5


def measure_rows(block: pa.Table, params: PixelParams, root: str, stop_flag: str) -> pa.Table:
    """Measure the frames of a block for the workspace at `root`, until the file `stop_flag` is there.

    See `transforms.metrics.measure.measure_frames`.
    """
    keep_freed()
    return measure_frames(block, params, unless(stop_flag), ImageFolder(paths.place(root)))


def unless(stop_flag: str) -> Callable[[], bool]:
    """Return a function that says whether to continue, and looks for the file a few times per second."""
    there, look_again = False, 0.0
    file = paths.place(stop_flag)
    every_s = paths.poll_interval_s(file, _LOOK_S, _LOOK_FAR_S)

    def go_on() -> bool:
        nonlocal there, look_again
        now = time.monotonic()
        if not there and now >= look_again:
            # A store that does not answer now is no reason to leave the frames in hand.
            with suppress(OSError):
                there = file.exists()
            look_again = now + every_s
        return not there

    return go_on


def persist_rows(batch: pa.Table, root: str, stage_keys: Mapping[str, str]) -> pa.Table:
    """Write the rows of one measured block, a file per table, and return a receipt. Runs in the worker."""
    parts: list[Part] = []
    error = None
    try:
        for stage, key in stage_keys.items():
            rows = _unpack(batch[stage]) if stage in batch.column_names else None
            if rows:
                parts.append(write_part(paths.place(root), schemas.of_stage(stage)[0], rows, {"stage_key": key}))
    except Exception as caught:
        # Any other way out would look like the death of the process, and frame after frame would be quarantined.
        error = not_taken(caught)
    frames = _unpack(batch[schemas.FRAMES.name])
    corrupt = pc.sum(pc.equal(frames["status"], "corrupt")).as_py() or 0
    tally = {name: batch[name][0].as_py() for name in (*TALLY, "verified")}
    return receipt(tally, parts, batch["quarantine"][0].as_py(), error, corrupt)


def not_taken(caught: Exception) -> str:
    """Return the message about results that could not be written."""
    if isinstance(caught, OSError):
        return as_problem(caught, "the workspace")
    return f"the workspace does not take the results: {type(caught).__name__}: {caught}"


def receipt(
    tally: Mapping[str, Any],
    parts: Sequence[Part],
    faults: Sequence[Mapping[str, Any]],
    error: str | None,
    n_corrupt: int = 0,
    seen: str | None = None,
) -> pa.Table:
    """Return the receipt of a block that is finished now, of schema `RECEIPT`."""
    row = {
        **tally,
        "finished_ns": time.time_ns(),
        "n_corrupt": n_corrupt,
        "parts": [part.to_json() for part in parts],
        "faults": faults,
        "error": error,
        "seen": seen,
        "machine": ":".join(filter(None, (socket.gethostname(), os.environ.get("RAY_RAYLET_PID")))),
    }
    return pa.Table.from_pylist([row], RECEIPT)


def _unpack(column: pa.ChunkedArray) -> pa.Table:
    rows = column.combine_chunks().flatten()
    return pa.Table.from_arrays(rows.flatten(), schema=pa.schema(list(rows.type)))
