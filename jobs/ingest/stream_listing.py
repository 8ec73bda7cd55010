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
from transforms.core.identity import stat_ids


@dataclass(frozen=True)
class StreamFiles:
    """One stream as listed now.

    `files` has `frame_idx`, `name`, `size_bytes` and `mtime_ns` in order of frame number: small enough for millions of
    frames. A frame's uri is that of the stream with the name appended. `row` is the stream's row in `streams`, as
    values.
    """

    stream_id: str
    uri: str
    files: pa.Table
    row: dict[str, Any]

    @classmethod
    def of(cls, stream_id: str, uri: str, files: pa.Table, **columns: Any) -> StreamFiles:
        """Return a stream with a row derived from its files; `columns` are further columns."""
        index = files["frame_idx"].to_numpy()
        row: dict[str, Any] = {
            "stream_id": stream_id,
            "uri": uri,
            "n_frames": len(index),
            "first_idx": int(index[0]) if len(index) else None,
            "last_idx": int(index[-1]) if len(index) else None,
            "gaps": [],
            **dict.fromkeys(("n_missing", "n_ignored", "n_repeated", "n_bad"), 0),
            **dict.fromkeys(("sampling", "source_id", "error")),
            "sizes": [],
        }
        return cls(stream_id, uri, files, row | columns)

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
            pa.scalar(self.uri if self.row["kind"] == "video" else f"{self.uri}/"), files["name"], ""
        )
        sizes, mtimes = files["size_bytes"].to_numpy(), files["mtime_ns"].to_numpy()
        columns = {
            "stream_id": pa.repeat(pa.scalar(self.stream_id), files.num_rows),
            "frame_idx": files["frame_idx"],
            "uri": uris,
            "size_bytes": sizes,
            "mtime_ns": mtimes,
            "stat_id": stat_ids(uris, sizes, mtimes),
        }
        return pa.table(columns, schema=schemas.LISTING.arrow_schema)

    @property
    def step(self) -> int:
        """Return the largest difference between the numbers of two consecutive frames."""
        return int(self.row["step"])
