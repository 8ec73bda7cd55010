"""A listed stream of frames: a folder of image files, or a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import schemas
from jobs.storage.file_pruning import Span
from transforms.core.identity import stat_ids, timed_ids


@dataclass(frozen=True)
class StreamFiles:
    """One stream as listed now.

    `files` has `frame_idx`, `name`, `size_bytes`, `mtime_ns` and `t_ns` in order of frame number: small enough for
    millions of frames. A frame's uri is that of the stream with the name appended. `row` is the stream's row in
    `streams`, as values. `time_source` says where the times come from, if there are any.
    """

    stream_id: str
    uri: str
    files: pa.Table
    row: dict[str, Any]
    time_source: str | None = None

    @classmethod
    def of(
        cls, stream_id: str, uri: str, files: pa.Table, *, time_source: str | None = None, **columns: Any
    ) -> StreamFiles:
        """Return a stream with a row derived from its files; `columns` are further columns of the row."""
        index = files["frame_idx"].to_numpy()
        row: dict[str, Any] = {
            "stream_id": stream_id,
            "uri": uri,
            "n_frames": len(index),
            "first_idx": int(index[0]) if len(index) else None,
            "last_idx": int(index[-1]) if len(index) else None,
            "gaps": [],
            **dict.fromkeys(("n_missing", "n_ignored", "n_repeated", "n_bad"), 0),
            **dict.fromkeys(
                (
                    "sampling",
                    "source_id",
                    "error",
                    "naming",
                    "naming_now",
                    "part",
                    "timezone",
                    "n_unclear_times",
                    "frame_id",
                    "camera_info",
                )
            ),
            "sizes": [],
        }
        return cls(stream_id, uri, files, row | columns, time_source)

    @property
    def n_frames(self) -> int:
        """Return the number of frames listed."""
        return self.files.num_rows

    @property
    def frame_idx(self) -> npt.NDArray[np.int64]:
        """Return the frame numbers, shape (N,), int64."""
        return self.files["frame_idx"].to_numpy()

    def listing(self, span: Span = (None, None)) -> pa.Table:
        """Return rows of the `listing` table: of all frames, or of those whose numbers are in a span."""
        first, last = np.searchsorted(self.frame_idx, [0 if end is None else end for end in span]).tolist()
        first, last = 0 if span[0] is None else first, self.n_frames if span[1] is None else last
        files = self.files.slice(first, last - first)
        uris = pc.binary_join_element_wise(
            pa.scalar(f"{self.uri}/" if self.row["kind"] == "folder" else self.uri), files["name"], ""
        )
        sizes, mtimes = files["size_bytes"].to_numpy(), files["mtime_ns"].to_numpy()
        t_ns = files["t_ns"].combine_chunks()
        source = pc.if_else(pc.is_valid(t_ns), pa.scalar(self.time_source, pa.string()), pa.scalar(None, pa.string()))
        columns = {
            "stream_id": pa.repeat(pa.scalar(self.stream_id), files.num_rows),
            "frame_idx": files["frame_idx"],
            "uri": uris,
            "size_bytes": sizes,
            "mtime_ns": mtimes,
            "stat_id": timed_ids(stat_ids(uris, sizes, mtimes), t_ns),
            "t_ns": t_ns,
            "time_source": source,
        }
        return pa.table(columns, schema=schemas.LISTING.arrow_schema)

    @property
    def step(self) -> int:
        """Return the largest difference between the numbers of two consecutive frames."""
        return int(self.row["step"])
