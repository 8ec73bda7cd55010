"""Models over frames: each frame read and decoded in threads ahead of the model, which gets whole batches.

A frame that cannot be read, or that the model cannot take, is a fault of that frame alone. A batch that fails is tried
in halves, down to the frame that is to blame: what fails for want of memory passes in smaller portions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import cv2
import pyarrow as pa

from transforms.clip import FrameName
from transforms.image import Color, ImageParams
from transforms.pictures import Clips, picture

REQUEST = pa.schema(
    [
        # Number of the block, the same in all of its rows.
        pa.field("block", pa.int64(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("frame_idx", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # Content id of the frame, which the bytes are held against.
        pa.field("input_id", pa.int64(), nullable=False),
        # The picture as stored, in pixels.
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        # Whether the table has a row for the frame, computed from something else.
        pa.field("replaces", pa.bool_(), nullable=False),
    ]
)
"""What a model is asked to look at, a row per frame."""

_BATCHES_AHEAD = 2


class FrameModel(Protocol):
    """A model that looks at frames one by one, many at a time.

    `short_side`: pixels that the shorter side of a picture has to have for it; None where it needs them all.
    """

    @property
    def short_side(self) -> int | None:
        """Return how small a picture may be decoded."""

    def prepare(self, color: Color) -> Any:
        """Make a picture ready; called in threads."""

    def infer(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return what the model says of each picture, in order."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by the name of their table; `frames` are those of `REQUEST` that have a result."""


class ContentChangedError(OSError):
    """A frame is not what it was when it was measured."""


@dataclass
class Inferred:
    """What a model made of a block: rows per table, frames it could not take, and what reading them cost.

    `n_frames` is how many frames it came to.
    """

    rows: Mapping[str, pa.Table]
    faults: list[dict[str, Any]] = field(default_factory=list)
    n_frames: int = 0
    n_read: int = 0
    n_decoded: int = 0
    bytes_read: int = 0


class _Prepared(NamedTuple):
    value: Any
    fault: Exception | None
    n_read: int
    n_decoded: int
    bytes_read: int


def look(
    block: pa.Table,
    model: FrameModel,
    stages: Sequence[str],
    params: ImageParams,
    batch: int,
    threads: int,
    go_on: Callable[[], bool] | None = None,
) -> Inferred:
    """Show the frames of a block, of schema `REQUEST`, to a model.

    `stages` are the names that faults are put down to; `batch` is the most frames that the model gets at once,
    `threads` how many read and decode; `go_on` is asked before each frame whether to. What the model says of a frame
    depends on none of them, but for the rounding of sums.
    """
    cv2.setNumThreads(0)
    found = Inferred({})
    waiting: list[tuple[int, Any]] = []
    results: dict[int, Any] = {}
    faults: dict[int, Exception] = {}
    for row, ready in enumerate(_ahead(block, model, params, _BATCHES_AHEAD * batch + threads, threads)):
        if go_on and not go_on():
            break
        found.n_frames += 1
        found.n_read += ready.n_read
        found.n_decoded += ready.n_decoded
        found.bytes_read += ready.bytes_read
        if ready.fault is not None:
            faults[row] = ready.fault
            continue
        waiting.append((row, ready.value))
        if len(waiting) == batch:
            _infer(model, waiting, results, faults)
            waiting = []
    if waiting:
        _infer(model, waiting, results, faults)
    seen = block.take(pa.array(sorted(results), pa.int64()))
    found.rows = model.rows(seen, [results[row] for row in sorted(results)]) if results else {}
    if faults:
        keys = block.select(["stream_id", "frame_idx", "uri"]).take(pa.array(sorted(faults), pa.int64())).to_pylist()
        found.faults = [
            key
            | {"stage": stage, "error_type": type(faults[row]).__name__, "error": " ".join(str(faults[row]).split())}
            for row, key in zip(sorted(faults), keys, strict=True)
            for stage in stages
        ]
    return found


def _infer(
    model: FrameModel, some: Sequence[tuple[int, Any]], results: dict[int, Any], faults: dict[int, Exception]
) -> None:
    try:
        said = model.infer([value for _, value in some])
    except Exception as error:
        if len(some) == 1:
            faults[some[0][0]] = error
            return
        middle = len(some) // 2
    else:
        results.update({row: one for (row, _), one in zip(some, said, strict=True)})
        return
    # Out here the error is let go of, and with it the arrays that its traceback holds on to.
    _infer(model, some[:middle], results, faults)
    _infer(model, some[middle:], results, faults)


def _ahead(block: pa.Table, model: FrameModel, params: ImageParams, ahead: int, threads: int) -> Iterator[_Prepared]:
    """Yield the block's frames in order, made ready in threads, at most `ahead` of them before they are asked for.

    Frames of clips are decoded one after the other by a thread of their own, since each builds on those before it.
    """
    uris, ids = block["uri"].to_pylist(), block["input_id"].to_pylist()
    with Clips() as clips, ThreadPoolExecutor(threads) as for_files, ThreadPoolExecutor(1) as for_clips:

        def ready(uri: str, input_id: int) -> _Prepared:
            frame = picture(uri, None, params, clips)
            value: Any = None
            fault: Exception | None = None
            try:
                if frame.content() != input_id:
                    raise ContentChangedError(f"{uri} has changed since it was measured; run its stream again")
                value = model.prepare(frame.color(model.short_side))
            except Exception as error:
                fault = error
            return _Prepared(value, fault, frame.n_read, frame.n_decoded, frame.bytes_read)

        queue: deque[Future[_Prepared]] = deque()
        at = 0
        try:
            while at < len(uris) or queue:
                while at < len(uris) and len(queue) < ahead:
                    pool = for_clips if FrameName.parse(uris[at]) else for_files
                    queue.append(pool.submit(ready, uris[at], ids[at]))
                    at += 1
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
