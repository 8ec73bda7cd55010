from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.curate.idle import Course, IdleParams, find_idle, sliding_mean
from transforms.frames.image import Gray, ImageParams, decode_gray, read_header, to_small, to_tiles
from transforms.metrics.motion import MotionParams, keeps_tiles, motion_scores, still_tiles
from transforms.metrics.sketch import SIZE, sketch

PARAMS = IdleParams(threshold=0.03, window=5, min_frames=10)
MOVING, STILL, UNKNOWN = 0.2, 0.005, float("nan")


def course(
    peak: list[float],
    phash: npt.NDArray[np.uint64] | None = None,
    decodable: npt.NDArray[np.bool_] | None = None,
    contrast: float = 50.0,
    cuts: tuple[int, ...] = (),
    content: list[int] | None = None,
    is_clip: bool = False,
    looks: dict[int, Gray] | None = None,
) -> Course:
    n = len(peak)
    sketches = {at: sketch(look) for at, look in (looks or {}).items()}
    return Course(
        np.array(peak, np.float32),
        np.full(n, contrast, np.float32),
        np.zeros(n, np.uint64) if phash is None else phash,
        np.arange(n) if content is None else np.array(content),
        np.ones(n, np.bool_) if decodable is None else decodable,
        np.isin(np.arange(n), cuts),
        is_clip,
        np.empty((0, 576), np.uint8),
        np.empty(0, np.int64),
        np.array(list(sketches.values()), np.int16).reshape(-1, SIZE),
        np.array(list(sketches), np.int64),
    )


def intervals(
    peak: list[float],
    hashes: dict[int, int] | None = None,
    broken: tuple[int, ...] = (),
    contrast: float = 50.0,
    params: IdleParams = PARAMS,
    cuts: tuple[int, ...] = (),
) -> list[tuple[int, int]]:
    """Find the intervals of a stream whose scene changes to another hash at the given positions."""
    words = np.zeros(len(peak), np.uint64)
    for at, word in (hashes or {}).items():
        words[at:] = word
    decodable = np.array([i not in broken for i in range(len(peak))])
    found = find_idle(course(peak, words, decodable, contrast, cuts), params)
    return list(zip(found.first.tolist(), found.last.tolist(), strict=True))


def test_an_interval_begins_with_the_frame_before_the_first_still_one() -> None:
    # Motion compares a frame with the previous one: frames 20 to 40 show one image.
    peak = [UNKNOWN] + [MOVING] * 20 + [STILL] * 20 + [MOVING] * 10
    assert intervals(peak) == [(20, 40)]


def test_short_still_runs_are_no_intervals() -> None:
    assert intervals([UNKNOWN] + [MOVING] * 10 + [STILL] * 8 + [MOVING] * 10) == []


def test_a_completely_still_stream_is_one_interval_with_inclusive_ends() -> None:
    assert intervals([UNKNOWN] + [STILL] * 29) == [(0, 29)]


def test_a_single_flash_neither_ends_nor_starts_an_interval() -> None:
    peak = [UNKNOWN] + [STILL] * 15 + [0.1] + [STILL] * 15
    assert intervals(peak) == [(0, 31)]


def test_a_short_event_ends_an_interval() -> None:
    peak = [UNKNOWN] + [STILL] * 15 + [MOVING] * 3 + [STILL] * 15
    assert intervals(peak) == [(0, 15), (18, 33)]


def test_a_gap_does_not_break_an_interval() -> None:
    peak = [UNKNOWN] + [STILL] * 8 + [UNKNOWN] + [STILL] * 8
    assert intervals(peak) == [(0, 17)]


def test_a_gap_with_a_change_of_scene_ends_an_interval() -> None:
    peak = [UNKNOWN] + [STILL] * 12 + [UNKNOWN] + [STILL] * 12
    assert intervals(peak, hashes={13: 2**40 - 1}) == [(0, 12), (13, 25)]


def test_gaps_and_corrupt_frames_alone_give_no_interval() -> None:
    assert intervals([UNKNOWN] * 40) == []
    assert intervals([UNKNOWN, MOVING, UNKNOWN, UNKNOWN] * 10) == []


def test_a_corrupt_frame_belongs_to_the_surrounding_interval() -> None:
    peak = [UNKNOWN] + [STILL] * 8 + [UNKNOWN, UNKNOWN] + [STILL] * 8
    assert intervals(peak, broken=(9,)) == [(0, 18)]


def test_faint_motion_counts_in_the_dark() -> None:
    peak = [UNKNOWN] + [0.015] * 30
    assert intervals(peak, contrast=50.0) == [(0, 30)]
    assert intervals(peak, contrast=2.0) == []


def test_score_is_one_without_motion_and_less_with_some() -> None:
    none = find_idle(course([0.0] * 30), PARAMS)
    some = find_idle(course([0.015] * 30), PARAMS)
    assert none.score.tolist() == [1.0]
    assert some.score.tolist() == [pytest.approx(0.5)]


def test_a_cut_separates_two_still_scenes() -> None:
    peak = [UNKNOWN] + [STILL] * 14 + [0.1] + [STILL] * 14
    assert intervals(peak) == [(0, 29)]
    assert intervals(peak, cuts=(0, 15)) == [(0, 14), (15, 29)]


def shown(pictures: npt.NDArray[np.float64], params: IdleParams | None = None) -> list[tuple[int, int]]:
    """Find the intervals of a stream of (N, 36, 64) images, 0..255, with slight noise on each."""
    noise = np.random.default_rng(1).normal(0, 0.5, pictures.shape)
    tiles = np.clip(pictures + noise, 0, 255).astype(np.uint8)
    moved = motion_scores(tiles[1:], tiles[:-1], MotionParams())
    at = np.array([i for i in range(len(tiles)) if keeps_tiles(i)])
    stream = replace(
        course([0.0] * len(tiles)),
        motion_peak=np.concatenate([[np.float32(np.nan)], moved.motion_peak]),
        tiles=still_tiles(tiles[at]),
        tiles_at=at,
    )
    found = find_idle(stream, params or IdleParams())
    return list(zip(found.first.tolist(), found.last.tolist(), strict=True))


def scene(seed: int, width: int = 64) -> npt.NDArray[np.float64]:
    """Return an image of smooth blobs, shape (36, width), 60..180."""
    rough = np.random.default_rng(seed).uniform(60, 180, (9, width // 4))
    return np.asarray(cv2.resize(rough, (width, 36), interpolation=cv2.INTER_CUBIC))


def test_a_still_scene_is_one_interval_under_changing_light() -> None:
    at = np.arange(160)[:, None, None]
    sun = 0.8 + 0.4 * at / 160
    shade = 30 * np.sin(at / 25) * np.linspace(0, 1, 64)
    assert shown(scene(1) + 0 * at) == [(0, 159)]
    assert shown(scene(1) * sun) == [(0, 159)]
    assert shown(scene(1) + shade) == [(0, 159)]


def test_slow_motion_is_not_idle() -> None:
    street = np.repeat(scene(1)[None], 160, axis=0)
    for at, picture in enumerate(street):
        place = 2 + at / 20
        covered = np.clip(np.minimum(np.arange(64) + 1, place + 1.4) - np.maximum(np.arange(64), place), 0, 1)
        picture[20:24] += (20 - picture[20:24]) * covered
    found = shown(street)
    # A person of a tenth of the image's height, at one tile per 20 frames, has no motion between adjacent frames.
    assert max((last - first for first, last in found), default=0) < 45


def test_a_slow_pan_of_the_camera_is_split() -> None:
    wide = scene(2, 128)
    turned = [cv2.warpAffine(wide, np.array([[1, 0, -at / 20], [0, 1, 0]]), (64, 36)) for at in range(400)]
    found = shown(np.array(turned))
    assert max(last - first for first, last in found) < 120


def test_a_dissolve_separates_two_still_scenes() -> None:
    share = np.clip((np.arange(96) - 40) / 16, 0, 1)[:, None, None]
    (_, end), (start, _) = shown((1 - share) * scene(3) + share * scene(4))
    assert 40 <= end < start <= 64


def test_a_passing_flash_ends_no_interval() -> None:
    pictures = np.repeat(scene(5)[None], 160, axis=0)
    assert keeps_tiles(71)
    pictures[71, 10:18, 20:28] += 12
    assert shown(pictures, IdleParams(drift=0.035)) == [(0, 159)]
    pictures[71:, 10:18, 20:28] = pictures[71, 10:18, 20:28]
    assert shown(pictures, IdleParams(drift=0.035)) == [(0, 70), (71, 159)]


def test_a_different_image_at_the_end_is_split_from_the_interval() -> None:
    pictures = np.repeat(scene(5)[None], 76, axis=0)
    share = np.clip((np.arange(76) - 50) / 16, 0, 1)[:, None, None]
    assert shown((1 - share) * pictures + share * scene(6)) == [(0, 70)]


def frozen(peak: list[float], **known: Any) -> list[tuple[int, int, bool]]:
    found = find_idle(course(peak, **known), PARAMS)
    return list(zip(found.first.tolist(), found.last.tolist(), found.frozen.tolist(), strict=True))


def test_a_frozen_feed_is_separated_from_the_still_scene_around_it() -> None:
    peak = [UNKNOWN] + [STILL] * 49
    # Frames 20 to 35 have the bytes of frame 19.
    content = [*range(20), *[19] * 16, *range(36, 50)]
    assert frozen(peak, content=content) == [(0, 18, False), (19, 35, True), (36, 49, False)]


def gops(n: int, length: int, live: bool) -> list[int]:
    """Return content ids of N groups of pictures: a keyframe, then encodings that soon repeat."""
    return [1000 * (group if live else 0) + min(i, 3) for group in range(n) for i in range(length)]


def test_a_frozen_clip_is_distinguished_from_a_live_one() -> None:
    peak = [UNKNOWN] + [STILL] * 119
    assert frozen(peak, content=gops(4, 30, live=False), is_clip=True) == [(0, 2, False), (3, 119, True)]
    # Between keyframes, the encoder of a live camera also repeats an image without visible change.
    assert frozen(peak, content=gops(4, 30, live=True), is_clip=True) == [(0, 119, False)]


def look(noise: float, seed: int, changed: float = 0) -> Gray:
    """Return an image with sensor noise, encoded so that a share of its pixels is off by one."""
    rng = np.random.default_rng(seed)
    picture = np.random.default_rng(0).uniform(20, 220, (36, 64)) + rng.normal(0, noise, (36, 64))
    return np.rint(picture + (rng.random((36, 64)) < changed)).astype(np.uint8)


STARTS = range(0, 240, 30)


def test_an_image_that_is_encoded_repeatedly_is_distinguished_from_a_live_one() -> None:
    peak = [UNKNOWN] + [STILL] * 239
    live = {at: look(0.5, at) for at in STARTS}
    assert frozen(peak, is_clip=True, looks=live) == [(0, 239, False)]
    # From the fourth group on the feed is frozen; the encoding is stable one group later.
    stuck = {at: look(0.5, 90) if at >= 90 else picture for at, picture in live.items()}
    stuck[90] = look(0.5, 90, changed=0.3)
    assert frozen(peak, is_clip=True, looks=stuck) == [(0, 119, False), (120, 239, True)]
    # It resumes in the last group.
    stuck[210] = live[210]
    assert frozen(peak, is_clip=True, looks=stuck) == [(0, 119, False), (120, 180, True), (181, 239, False)]
    # An encoder that alternates between two encodings of it.
    turns = {at: look(0.5, 90, changed=0.3 * (at // 30 % 2)) for at in STARTS}
    assert frozen(peak, is_clip=True, looks=turns) == [(0, 29, False), (30, 239, True)]


def test_files_of_one_image_with_different_bytes_are_a_frozen_feed() -> None:
    peak = [UNKNOWN] + [STILL] * 99
    looks = {at: look(0.5, min(at, 40)) for at in range(100)}
    assert frozen(peak, looks=looks) == [(0, 39, False), (40, 99, True)]
    assert frozen(peak, looks={at: look(0.5, at) for at in range(100)}) == [(0, 99, False)]
    # Not across a cut, and not for few frames.
    assert frozen(peak, looks=looks, cuts=(70,)) == [(0, 39, False), (40, 69, True), (70, 99, True)]
    few = {at: look(0.5, 40 if 40 <= at < 47 else at) for at in range(100)}
    assert frozen(peak, looks=few) == [(0, 99, False)]


def test_repeated_frames_of_a_slow_camera_are_not_frozen() -> None:
    assert frozen([UNKNOWN] + [STILL] * 119, content=[i // 6 for i in range(120)], is_clip=True) == [(0, 119, False)]


def test_a_few_repeats_are_not_a_frozen_feed() -> None:
    content = [*range(20), *[19] * 5, *range(25, 50)]
    assert frozen([UNKNOWN] + [STILL] * 49, content=content) == [(0, 49, False)]


def test_a_frozen_feed_ends_at_a_cut() -> None:
    content = [0] * 20 + [1] * 20
    assert frozen([UNKNOWN] + [0.0] * 19 + [0.5] + [0.0] * 19, content=content, cuts=(0, 20)) == [
        (0, 19, True),
        (20, 39, True),
    ]


def test_no_frames_and_one_frame_give_no_intervals() -> None:
    assert intervals([]) == []
    assert intervals([UNKNOWN]) == []


def test_sliding_mean_is_truncated_at_segment_ends() -> None:
    values = np.array([1.0, 2, 3, 10, 20, 30])
    segment = np.array([0, 0, 0, 1, 1, 1])
    assert sliding_mean(values, segment, 3).tolist() == [1.5, 2.0, 2.5, 15.0, 20.0, 25.0]
    assert sliding_mean(values, segment, 1).tolist() == values.tolist()


@given(st.lists(st.sampled_from([MOVING, STILL, UNKNOWN, 0.029, 0.031]), max_size=120), st.integers(1, 9))
def test_intervals_are_long_enough_disjoint_and_within_the_stream(peak: list[float], window: int) -> None:
    found = intervals(peak, params=IdleParams(window=window, min_frames=10))
    last_end = -1
    for first, last in found:
        assert last_end < first <= last < len(peak)
        assert last - first + 1 >= 10
        last_end = last


def clip(path: Path, frames: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return motion_peak and tile_contrast of the first frames of a folder of images."""
    tiles = []
    for file in sorted(path.glob("*.jpg"))[:frames]:
        data = file.read_bytes()
        tiles.append(to_tiles(to_small(decode_gray(data, read_header(data), ImageParams()))))
    stack = np.stack(tiles)
    found = motion_scores(stack[1:], stack[:-1], MotionParams())
    return found.motion_peak, found.tile_contrast


@pytest.mark.realdata
def test_a_room_with_playing_children_is_never_idle(real_data: Path) -> None:
    peak, contrast = clip(real_data / "sequences/bedroom", 200)
    n = len(peak)
    found = find_idle(replace(course([0.0] * n), motion_peak=peak, tile_contrast=contrast), IdleParams())
    assert len(found.first) == 0
