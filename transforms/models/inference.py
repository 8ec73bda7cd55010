"""Inference of models over blocks of frames, which are decoded ahead in threads and processed in batches.

A frame that cannot be read, or that the model cannot process, gives a fault of that frame alone. A batch that fails is
retried in halves, down to the single frame that causes the failure; a batch that needs too much memory passes in
smaller parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import pyarrow as pa

from transforms.frames.clip import FrameName
from transforms.frames.frame_image import Clips, open_frame
from transforms.frames.image import Color, ImageParams

_REGION = pa.struct([("region_id", pa.string()), ("kind", pa.string()), ("corners", pa.list_(pa.float32()))])
REQUEST = pa.schema(
    [
        # Number of the block, the same in all of its rows.
        pa.field("block", pa.int64(), nullable=False),
        pa.field("stream_id", pa.string(), nullable=False),
        pa.field("frame_idx", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # Content id of the frame, with which the bytes are compared.
        pa.field("input_id", pa.int64(), nullable=False),
        # Size of the image as stored, in pixels.
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        # Whether the table has a row for the frame that was computed from other contents.
        pa.field("replaces", pa.bool_(), nullable=False),
        # Whether its row is to be computed; other frames are context of later ones.
        pa.field("wanted", pa.bool_(), nullable=False),
        # Id of all inputs of the row, if these are more than the frame itself; else null.
        pa.field("window_id", pa.int64()),
        # Whether it directly follows its predecessor, without a gap; null for models that do not need it.
        pa.field("follows", pa.bool_()),
        # Objects detected on it, boxes in pixels of the frame; null for models that do not need them.
        pa.field(
            "objects",
            pa.list_(
                pa.struct(
                    [
                        ("annotation_id", pa.string()),
                        ("category", pa.string()),
                        *((name, pa.float32()) for name in ("score", "x", "y", "w", "h")),
                    ]
                )
            ),
        ),
        # Regions that are read on it, with the corners of their quadrilaterals in pixels; null for other models.
        pa.field("regions", pa.list_(_REGION)),
    ]
)
"""Schema of a model's input block, a row per frame."""

_BATCHES_AHEAD = 2


class FrameModel(Protocol):
    """A model that processes frames independently, in batches.

    `short_side`: pixels that the shorter side of an image needs at least; None for full size.
    """

    @property
    def short_side(self) -> int | None:
        """Return the least size at which an image may be decoded."""

    @property
    def prepare(self) -> Callable[..., Any]:
        """Preprocess an image, and its objects if the model uses them; called in threads."""

    def infer(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return the model's result for each image, in order."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by table name; `frames` are those of `REQUEST` that have a result."""


@runtime_checkable
class WindowedModel(Protocol):
    """A model that processes each frame of a stream together with a window of frames before it.

    `context`: how many previous frames the result depends on; it depends on nothing else.
    """

    @property
    def context(self) -> int:
        """Return how many previous frames each result depends on."""

    def prepare(self, color: Color) -> Any:
        """Preprocess an image; called in threads. All images of a block are in memory at once."""

    def infer_windows(self, frames: pa.Table, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return the model's result for each of these frames of `REQUEST`, in order."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by table name."""


@runtime_checkable
class StatefulModel(Protocol):
    """A model that processes a sequence of frames one by one, with a state.

    The result for a frame depends on the frames since the start of the sequence, and on nothing else.
    """

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> Any:
        """Preprocess an image, with its objects for the first one of a sequence; called in threads."""

    def start(self, first: Any, number: int) -> Any:
        """Return the state after the first frame of a sequence, which has this frame number."""

    def step(self, state: Any, frame: Any, wanted: bool) -> Any:
        """Process the next frame and update the state; return the result for the frame if it is wanted."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by table name."""


AnyModel = FrameModel | WindowedModel | StatefulModel
"""The kinds of models that a stage may run."""


class ModelError(ValueError):
    """A file or folder is not a usable model."""


class WrongModelError(ModelError):
    """A result shows that the model is set up wrongly, so that none of its results can be trusted."""


class ContentChangedError(OSError):
    """A frame's content has changed since it was measured."""


@dataclass
class Inferred:
    """The results of a model for a block: rows per table, faults of frames, and counts of frames, reads and bytes.

    `n_frames` is the number of wanted frames that were processed.
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


class _Pass:
    """One pass of a model over a block: reads and counts its frames, collects results and faults by row."""

    def __init__(self, block: pa.Table, params: ImageParams, threads: int, go_on: Callable[[], bool] | None) -> None:
        cv2.setNumThreads(0)
        self._block = block
        self._params = params
        self._threads = threads
        self._go_on = go_on
        self._inferred = Inferred({})
        self.results: dict[int, Any] = {}
        self.faults: dict[int, Exception] = {}
        self.stopped = False

    def read(
        self, prepare: Callable[..., Any], ahead: int, wanted: Sequence[bool], short_side: int | None = None
    ) -> Iterator[tuple[int, _Prepared]]:
        """Yield preprocessed frames with their rows, in order, and count them; `n_frames` counts the `wanted` ones.

        `go_on` is called before each frame; if it returns False, reading ends and `stopped` is set.
        """
        counts = self._inferred
        for row, ready in enumerate(_read_ahead(self._block, prepare, short_side, self._params, ahead, self._threads)):
            if self._go_on and not self._go_on():
                self.stopped = True
                return
            counts.n_frames += wanted[row]
            counts.n_read += ready.n_read
            counts.n_decoded += ready.n_decoded
            counts.bytes_read += ready.bytes_read
            yield row, ready

    def finish(self, model: AnyModel, stages: Sequence[str], rows: Sequence[int]) -> Inferred:
        """Return the counts, the model's rows for the results of these rows of the block, and all faults."""
        done = self._inferred
        if rows:
            done.rows = model.rows(self._block.take(pa.array(rows, pa.int64())), [self.results[row] for row in rows])
        done.faults = faults_of(self._block, self.faults, stages)
        return done


def infer_windowed(
    block: pa.Table,
    model: WindowedModel,
    stages: Sequence[str],
    params: ImageParams,
    threads: int,
    go_on: Callable[[], bool] | None = None,
) -> Inferred:
    """Run a windowed model over the frames of a block; rows are those of the wanted frames.

    A frame gets a fault if it, or a frame of its window, cannot be read. If `go_on` returns False, no frame is
    processed.
    """
    follows, wanted = block["follows"].to_pylist(), block["wanted"].to_pylist()
    frames = _Pass(block, params, threads, go_on)
    prepared = [each for _, each in frames.read(model.prepare, threads * 2, wanted)]
    if frames.stopped:
        return Inferred({})
    last: tuple[int, Exception] | None = None
    for row, each in enumerate(prepared):
        if each.fault is not None:
            last = (row, each.fault)
        elif not follows[row]:
            last = None
        if last is not None and wanted[row] and row - last[0] <= model.context:
            frames.faults[row] = last[1]
    readable = [row for row, each in enumerate(prepared) if each.fault is None]
    shown = block.take(pa.array(readable, pa.int64()))
    inferred = model.infer_windows(shown, [prepared[row].value for row in readable])
    frames.results.update(zip(readable, inferred, strict=True))
    return frames.finish(model, stages, [row for row in readable if wanted[row] and row not in frames.faults])


def infer_stateful(
    block: pa.Table,
    model: StatefulModel,
    stages: Sequence[str],
    params: ImageParams,
    threads: int,
    go_on: Callable[[], bool] | None = None,
) -> Inferred:
    """Run a stateful model over the frames of a block, one by one; rows are those of the wanted frames.

    A sequence begins with each row that does not follow its predecessor. A frame that cannot be read or processed gives
    a fault for it and for the rest of its sequence. Only a few frames are in memory at a time. If `go_on`, called
    before each frame, returns False, the pass ends.
    """
    follows, wanted, numbers = (block[name].to_pylist() for name in ("follows", "wanted", "frame_idx"))
    frames = _Pass(block, params, threads, go_on)
    state: Any = None
    broken: Exception | None = None
    for row, ready in frames.read(model.prepare, threads * 2, wanted):
        if not follows[row]:
            state = broken = None
        try:
            if ready.fault is not None:
                raise ready.fault
            if not follows[row]:
                state = model.start(ready.value, numbers[row])
            elif broken is None:
                frames.results[row] = model.step(state, ready.value, wanted[row])
        except Exception as error:
            broken = broken or error
        if broken is not None and wanted[row]:
            frames.faults[row] = broken
    return frames.finish(model, stages, [row for row in sorted(frames.results) if wanted[row]])


def infer_batches(
    block: pa.Table,
    model: FrameModel,
    stages: Sequence[str],
    params: ImageParams,
    batch: int,
    threads: int,
    go_on: Callable[[], bool] | None = None,
) -> Inferred:
    """Run a model over the frames of a block, of schema `REQUEST`, in batches.

    `stages` are the names to which faults are attributed; `batch` is the largest batch, `threads` the number of threads
    that read and decode. If `go_on`, called before each frame, returns False, the pass ends. Results depend on none of
    these, apart from the rounding of sums.
    """
    frames = _Pass(block, params, threads, go_on)
    waiting: list[tuple[int, Any]] = []
    ahead = _BATCHES_AHEAD * batch + threads
    for row, ready in frames.read(model.prepare, ahead, [True] * block.num_rows, model.short_side):
        if ready.fault is not None:
            frames.faults[row] = ready.fault
            continue
        waiting.append((row, ready.value))
        if len(waiting) == batch:
            infer_in_parts(model, waiting, frames.results, frames.faults)
            waiting = []
    if waiting:
        infer_in_parts(model, waiting, frames.results, frames.faults)
    return frames.finish(model, stages, sorted(frames.results))


def known_of(block: pa.Table) -> list[list[dict[str, Any]] | None]:
    """Return what a model is given of each frame of a block besides the image: its objects, its regions, or None."""
    pairs = zip(block["objects"].to_pylist(), block["regions"].to_pylist(), strict=True)
    return [regions if objects is None else objects for objects, regions in pairs]


def faults_of(block: pa.Table, faults: Mapping[int, Exception], stages: Sequence[str]) -> list[dict[str, Any]]:
    """Return faults, given by row of the block, as rows of `quarantine`, one for each stage."""
    keys = block.select(["stream_id", "frame_idx", "uri"]).take(pa.array(sorted(faults), pa.int64())).to_pylist()
    return [
        key | {"stage": stage, "error_type": type(faults[row]).__name__, "error": " ".join(str(faults[row]).split())}
        for row, key in zip(sorted(faults), keys, strict=True)
        for stage in stages
    ]


def infer_in_parts(
    model: FrameModel, some: Sequence[tuple[int, Any]], results: dict[int, Any], faults: dict[int, Exception]
) -> None:
    """Run a model on frames; a batch that fails is retried in halves, down to the frame that causes the failure.

    Raises `WrongModelError` if the model itself is the cause.
    """
    try:
        outputs = model.infer([value for _, value in some])
    except WrongModelError:
        raise
    except Exception as error:
        if len(some) == 1:
            faults[some[0][0]] = error
            return
        middle = len(some) // 2
    else:
        results.update({row: output for (row, _), output in zip(some, outputs, strict=True)})
        return
    # Outside the except clause the error is released, and with it the arrays that its traceback references.
    infer_in_parts(model, some[:middle], results, faults)
    infer_in_parts(model, some[middle:], results, faults)


def _read_ahead(
    block: pa.Table,
    prepare: Callable[..., Any],
    short_side: int | None,
    params: ImageParams,
    ahead: int,
    threads: int,
) -> Iterator[_Prepared]:
    """Yield the block's frames in order, preprocessed in threads, at most `ahead` of them in advance.

    Frames of clips are decoded sequentially by one separate thread, since each depends on those before it.
    """
    uris, ids = block["uri"].to_pylist(), block["input_id"].to_pylist()
    known = known_of(block)
    with Clips() as clips, ThreadPoolExecutor(threads) as for_files, ThreadPoolExecutor(1) as for_clips:

        def ready(uri: str, input_id: int, objects: list[dict[str, Any]] | None) -> _Prepared:
            frame = open_frame(uri, None, params, clips)
            value: Any = None
            fault: Exception | None = None
            try:
                if frame.content() != input_id:
                    raise ContentChangedError(f"{uri} has changed since it was measured; run its stream again")
                color = frame.color(short_side)
                value = prepare(color) if objects is None else prepare(color, objects)
            except Exception as error:
                fault = error
            return _Prepared(value, fault, frame.n_read, frame.n_decoded, frame.bytes_read)

        queue: deque[Future[_Prepared]] = deque()
        at = 0
        try:
            while at < len(uris) or queue:
                while at < len(uris) and len(queue) < ahead:
                    pool = for_clips if FrameName.parse(uris[at]) else for_files
                    queue.append(pool.submit(ready, uris[at], ids[at], known[at]))
                    at += 1
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
