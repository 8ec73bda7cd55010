"""Making images: one at a time for all who want it, the newest request first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from jobs.web import media as module
from jobs.web.media import Encoded, ImageTask, Media, Wanted
from transforms.frames.frame_image import Clips


def _wanted(name: str) -> Wanted:
    return Wanted(name, f"/nowhere/{name}.jpg", "00", None, name)


class _Gate:
    """Stands where images are made: notes what is made, and waits until the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.opened = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

        def make(_: Media, task: ImageTask, __: Clips) -> Encoded:
            self.made.append(task.wanted.label)
            self.begun.release()
            self.opened.acquire()
            return Encoded(task.wanted.label.encode(), "image/jpeg")

        monkeypatch.setattr(module.Media, "_made", make)


def test_the_newest_request_goes_first_and_requests_for_one_image_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    media = Media(tmp_path, workers=1)
    first = media.request(_wanted("first"), "320")
    gate.begun.acquire()
    waiting = [media.request(_wanted(name), "320") for name in ("a", "b", "c")]
    shared = media.request(_wanted("b"), "320")
    assert shared is waiting[1]
    gate.opened.release(10)
    assert [task.result.result(30).data for task in (first, *waiting)] == [b"first", b"a", b"b", b"c"]
    assert gate.made == ["first", "c", "b", "a"]
    media.close()


def test_what_nobody_waits_for_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _Gate(monkeypatch)
    media = Media(tmp_path, workers=1)
    media.request(_wanted("first"), "320")
    gate.begun.acquire()
    left, kept = media.request(_wanted("left"), "320"), media.request(_wanted("kept"), "320")
    media.request(_wanted("kept"), "320")
    media.release(left)
    media.release(kept)
    gate.opened.release(10)
    assert kept.result.result(30).data == b"kept"
    assert left.result.cancelled()
    assert gate.made == ["first", "kept"]
    media.close()


def test_what_is_near_is_made_ready_until_something_else_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    media = Media(tmp_path, workers=1)
    near = [_wanted(name) for name in ("next", "second", "third")]
    first = media.request(_wanted("first"), "320", near)
    gate.opened.release(2)
    assert first.result.result(30).data == b"first"
    for _ in ("first", "next", "second"):
        gate.begun.acquire()
    other = media.request(_wanted("other"), "320")
    gate.opened.release(10)
    assert other.result.result(30).data == b"other"
    media.close()
    assert gate.made == ["first", "next", "second", "other"]
