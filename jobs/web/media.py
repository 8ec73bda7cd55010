"""Images of frames for pages: decoded small by a few workers, the newest request first."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import Literal, NamedTuple

from jobs.core.errors import UserError
from jobs.web.image_cache import ImageCache
from jobs.web.problems import GoneError, UndecodableError
from transforms.frames.clip import FrameName
from transforms.frames.frame_image import Clips, FrameImage, open_frame
from transforms.frames.image import CorruptImageError, ImageParams, encode_jpeg, encode_small, read_header
from transforms.io.frame_bytes import FileChangingError

Width = Literal["320", "640", "1280", "full"]

_WORKERS = 2
_IDLE_S = 20.0
_MOST_WAITING = 512
# Longer than from one frame to the next while somebody drags along a timeline.
_PAUSE_S = 0.15
# Formats that all browsers show, and which they show as they are stored where no orientation is given.
_SHOWN_BY_BROWSERS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}


class Wanted(NamedTuple):
    """A frame whose image is wanted: where it is, the content that it was measured with, and what people call it.

    `cache_name` is that of its images in the cache. `white_level` is that of `frames`: None for files of 8 bits per
    sample.
    """

    cache_name: str
    uri: str
    content_hash: str
    white_level: float | None
    label: str


class Encoded(NamedTuple):
    """An image as bytes, and their kind, as in `image/jpeg`."""

    data: bytes
    kind: str


@dataclass(eq=False)
class ImageTask:
    """An image that is being made, and how many wait for it; `near` are made afterwards, if nothing else is to do."""

    wanted: Wanted
    width: Width
    near: Sequence[Wanted] = ()
    result: Future[Encoded] = field(default_factory=Future)
    waiting: int = 1


class Media:
    """Makes images of frames, and keeps them in a cache on disk."""

    def __init__(self, folder: Path, workers: int = _WORKERS) -> None:
        """Make workers that start with the first request; `folder` is that of the cache."""
        self.cache = ImageCache(folder)
        self._n_workers = workers
        self._threads: list[Thread] = []
        self._tasks: dict[tuple[str, Width], ImageTask] = {}
        self._stack: list[ImageTask] = []
        self._changed = Condition()
        self._is_closed = False

    def cached(self, cache_name: str, width: Width) -> bytes | None:
        """Return a JPEG that was made before; None where there is none."""
        return self.cache.get(f"{cache_name}-{width}")

    def request(self, wanted: Wanted, width: Width, near: Sequence[Wanted] = ()) -> ImageTask:
        """Have an image made; requests for one image share the work.

        `near` are frames that somebody may want next, in the order in which they are best made: of a clip those that
        the decoder comes to.

        The result raises `GoneError` where the file is missing or has other content now, and `UndecodableError`.
        """
        key = (wanted.cache_name, width)
        with self._changed:
            task = self._tasks.get(key)
            if task is not None:
                task.waiting += 1
                return task
            task = self._tasks[key] = ImageTask(wanted, width, near)
            self._stack.append(task)
            if len(self._stack) > _MOST_WAITING:
                # Who scrolls that fast does not see the oldest ones any more.
                self._drop(self._stack[0])
            if len(self._threads) < self._n_workers:
                self._threads.append(Thread(target=self._work, name="media", daemon=True))
                self._threads[-1].start()
            self._changed.notify()
        return task

    def release(self, task: ImageTask) -> None:
        """Wait no more: an image that nobody waits for is not made, unless it is being made already."""
        with self._changed:
            task.waiting -= 1
            if task.waiting <= 0 and task in self._stack:
                self._drop(task)

    def close(self) -> None:
        """Stop the workers after what they are at."""
        with self._changed:
            self._is_closed = True
            for task in self._stack[:]:
                self._drop(task)
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=2)

    def _drop(self, task: ImageTask) -> None:
        self._stack.remove(task)
        self._tasks.pop((task.wanted.cache_name, task.width), None)
        task.result.cancel()

    def _work(self) -> None:
        with Clips() as clips:
            while True:
                with self._changed:
                    if not self._stack and not self._is_closed and not self._changed.wait(_IDLE_S):
                        # A clip that nobody scrubs through needs no decoder.
                        clips.close()
                    if self._is_closed:
                        return
                    task = self._stack.pop() if self._stack else None
                if task is not None:
                    self._do(task, clips)
                    self._prepare(task, clips)

    def _prepare(self, task: ImageTask, clips: Clips) -> None:
        """Make the images near one that was made, once nobody has wanted another one for a moment, and until then."""
        with self._changed:
            if not task.near or self._stack or self._changed.wait(_PAUSE_S):
                return
        for wanted in task.near:
            with self._changed:
                if self._stack or self._is_closed:
                    return
                if (wanted.cache_name, task.width) in self._tasks:
                    continue
            if self.cached(wanted.cache_name, task.width) is not None:
                continue
            try:
                self._made(ImageTask(wanted, task.width), clips)
            except (UserError, OSError):
                # Who wants it is answered with what is wrong.
                return

    def _do(self, task: ImageTask, clips: Clips) -> None:
        try:
            made = self._made(task, clips)
            finish = partial(task.result.set_result, made)
        except Exception as error:
            finish = partial(task.result.set_exception, error)
        with self._changed:
            self._tasks.pop((task.wanted.cache_name, task.width), None)
        if task.result.set_running_or_notify_cancel():
            finish()

    def _made(self, task: ImageTask, clips: Clips) -> Encoded:
        wanted, width = task.wanted, task.width
        frame = _read(wanted, clips)
        try:
            if width == "full" and (own := _own_bytes(frame, wanted)):
                return own
            data = _small(frame, None if width == "full" else int(width))
        except CorruptImageError as error:
            raise UndecodableError(f"{wanted.label} has no image: {error}") from error
        self.cache.put(f"{wanted.cache_name}-{width}", data)
        return Encoded(data, "image/jpeg")


def _read(wanted: Wanted, clips: Clips) -> FrameImage:
    """Return a frame whose content is what was measured."""
    try:
        try:
            frame = _loaded(wanted, clips)
        except FileChangingError:
            # The clip is another one since it was opened.
            clips.close()
            frame = _loaded(wanted, clips)
    except FileNotFoundError as error:
        raise GoneError(f"{wanted.label}: its file is not there any more") from error
    except (OSError, ValueError) as error:
        if isinstance(error, CorruptImageError):
            raise UndecodableError(f"{wanted.label} has no image: {error}") from error
        raise GoneError(f"{wanted.label}: its file cannot be read ({type(error).__name__})") from error
    if frame.hash_hex != wanted.content_hash:
        raise GoneError(f"{wanted.label}: its file has changed since it was measured; run its stream again")
    return frame


def _loaded(wanted: Wanted, clips: Clips) -> FrameImage:
    frame = open_frame(wanted.uri, None, ImageParams(white_level=wanted.white_level), clips)
    frame.load()
    return frame


def _own_bytes(frame: FrameImage, wanted: Wanted) -> Encoded | None:
    """Return the bytes of a file that browsers show as Winnow does: a known format, upright, with 8 bits per sample."""
    if FrameName.parse(wanted.uri) is not None or wanted.white_level is not None:
        return None
    assert frame.read is not None
    header = read_header(frame.read.data)
    kind = _SHOWN_BY_BROWSERS.get(header.format)
    return Encoded(frame.read.data, kind) if kind is not None and header.orientation == 1 else None


def _small(frame: FrameImage, long_side: int | None) -> bytes:
    if long_side is None:
        return encode_jpeg(frame.color())
    assert frame.read is not None
    short_side = None
    if frame.read.data:
        header = read_header(frame.read.data)
        longest, shortest = max(header.width, header.height), min(header.width, header.height)
        short_side = max(1, -(-long_side * shortest // max(1, longest)))
    return encode_small(frame.color(short_side), long_side)
