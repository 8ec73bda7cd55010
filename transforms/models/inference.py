"""Models over frames: each frame read and decoded in threads ahead of the model, which gets whole batches.

A frame that cannot be read, or that the model cannot take, is a fault of that frame alone. A batch that fails is tried
in halves, down to the frame that is to blame: what fails for want of memory passes in smaller portions.
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
from transforms.frames.frame_image import Clips, picture
from transforms.frames.image import Color, ImageParams

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
        # Whether its row is asked for; others come along as what was there before the next one that is.
        pa.field("wanted", pa.bool_(), nullable=False),
        # What the row is computed from, where that is more than the frame itself; else null.
        pa.field("window_id", pa.int64()),
        # Whether it comes right after the frame before it, without a gap; null where nobody asks.
        pa.field("follows", pa.bool_()),
        # What was found on it before, boxes in pixels of the frame; null for models that are not asked about that.
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

    @property
    def prepare(self) -> Callable[..., Any]:
        """Make a picture ready; called in threads, and with its objects where these are asked about."""

    def infer(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return what the model says of each picture, in order."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by the name of their table; `frames` are those of `REQUEST` that have a result."""


@runtime_checkable
class WindowedModel(Protocol):
    """A model that looks at frames of a stream in their order, and at each with those before it.

    `context`: how many frames before a frame it looks at; what it says depends on these and on nothing else.
    """

    @property
    def context(self) -> int:
        """Return how many frames before each it looks at."""

    def prepare(self, color: Color) -> Any:
        """Make a picture ready; called in threads. All of a block's are held in memory at once."""

    def infer_windows(self, frames: pa.Table, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return what the model says of each of these frames of `REQUEST`, in order."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by the name of their table."""


@runtime_checkable
class StatefulModel(Protocol):
    """A model that is shown a stretch of frames one after the other, and remembers what it has to of those before.

    What it says of a frame depends on those since the stretch began, and on nothing else.
    """

    def prepare(self, color: Color, objects: Sequence[Mapping[str, Any]] = ()) -> Any:
        """Make a picture ready; called in threads, and with its objects on the first of a stretch."""

    def start(self, first: Any, number: int) -> Any:
        """Return what is remembered of the first frame of a stretch, whose number this is."""

    def step(self, state: Any, frame: Any, wanted: bool) -> Any:
        """Look at the next frame, and take it into memory; return what there is to say of it where that is wanted."""

    def rows(self, frames: pa.Table, results: Sequence[Any]) -> Mapping[str, pa.Table]:
        """Return rows by the name of their table."""


AnyModel = FrameModel | WindowedModel | StatefulModel
"""What a stage may show frames to."""


class ModelError(ValueError):
    """A file or folder is no model that can be used."""


class WrongModelError(ModelError):
    """What a model says of a frame shows that it is not set up right: nothing that it says is to be trusted."""


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


class _Pass:
    """One pass of a model over a block: reads and counts its frames, gathers results and faults by row."""

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
        """Yield prepared frames with their rows, in order, and count them; `n_frames` counts those that are `wanted`.

        `go_on` is asked before each frame; where it says no, reading ends and `stopped` is set.
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
    """Show the frames of a block to a model that looks back; rows are of those that are wanted.

    A frame is set aside if it, or one of those that it is looked at with, cannot be read. Where `go_on` says not to,
    none is looked at.
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
    """Show the frames of a block to a model that remembers, one by one; rows are of those that are wanted.

    A stretch begins with each row that does not follow the one before it. Where a frame cannot be read, or taken, it
    and those after it in its stretch are set aside. A few frames are in memory at a time. `go_on` is asked before each
    whether to.
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
    """Show the frames of a block, of schema `REQUEST`, to a model.

    `stages` are the names that faults are put down to; `batch` is the most frames that the model gets at once,
    `threads` how many read and decode; `go_on` is asked before each frame whether to. What the model says of a frame
    depends on none of them, but for the rounding of sums.
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


def faults_of(block: pa.Table, faults: Mapping[int, Exception], stages: Sequence[str]) -> list[dict[str, Any]]:
    """Return the faults of frames, by their place in the block, as rows that name stages."""
    keys = block.select(["stream_id", "frame_idx", "uri"]).take(pa.array(sorted(faults), pa.int64())).to_pylist()
    return [
        key | {"stage": stage, "error_type": type(faults[row]).__name__, "error": " ".join(str(faults[row]).split())}
        for row, key in zip(sorted(faults), keys, strict=True)
        for stage in stages
    ]


def infer_in_parts(
    model: FrameModel, some: Sequence[tuple[int, Any]], results: dict[int, Any], faults: dict[int, Exception]
) -> None:
    """Show frames to a model; what fails is shown in halves, down to the frame that is to blame.

    Raises `WrongModelError` where it is not a frame that is to blame.
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
    # Out here the error is let go of, and with it the arrays that its traceback holds on to.
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
    """Yield the block's frames in order, made ready in threads, at most `ahead` of them before they are asked for.

    Frames of clips are decoded one after the other by a thread of their own, since each builds on those before it.
    """
    uris, ids = block["uri"].to_pylist(), block["input_id"].to_pylist()
    known = block["objects"].to_pylist()
    with Clips() as clips, ThreadPoolExecutor(threads) as for_files, ThreadPoolExecutor(1) as for_clips:

        def ready(uri: str, input_id: int, objects: list[dict[str, Any]] | None) -> _Prepared:
            frame = picture(uri, None, params, clips)
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
