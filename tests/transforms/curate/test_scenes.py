from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.curate.scenes import SceneParams, find_scenes
from transforms.frames.image import to_small, to_tiles
from transforms.metrics.hashing import layouts

Layouts = npt.NDArray[np.uint8]
PARAMS = SceneParams()
BLACK = np.full(64, 3, np.uint8)


def place(number: int) -> Layouts:
    """Return the layout of one place."""
    return np.random.default_rng(number).integers(20, 220, 64).astype(np.uint8)


def look(number: int, n: int, shake: int = 4) -> list[Layouts]:
    """Return N layouts of a place with slight motion."""
    rng = np.random.default_rng(1000 + number)
    return [np.clip(place(number) + rng.integers(-shake, shake + 1, 64), 0, 255).astype(np.uint8) for _ in range(n)]


def faded(frames: list[Layouts], shares: list[float]) -> list[Layouts]:
    return [(frame * share).astype(np.uint8) for frame, share in zip(frames, shares, strict=True)]


def scenes(
    frames: list[Layouts], broken: tuple[int, ...] = (), params: SceneParams = PARAMS
) -> list[tuple[int, int, str]]:
    decodable = np.array([i not in broken for i in range(len(frames))], np.bool_)
    found = find_scenes(np.array(frames, np.uint8).reshape(-1, 64), decodable, params)
    return list(zip(found.first.tolist(), found.last.tolist(), found.begins, strict=True))


def test_a_stream_without_cuts_is_one_scene() -> None:
    assert scenes(look(1, 50)) == [(0, 49, "start")]


def test_a_cut_begins_a_scene() -> None:
    assert scenes(look(1, 20) + look(2, 30)) == [(0, 19, "start"), (20, 49, "cut")]


def test_a_flash_and_a_lorry_begin_no_scene() -> None:
    white = [np.full(64, 250, np.uint8)]
    assert scenes(look(1, 20) + white + look(1, 20)) == [(0, 40, "start")]
    assert scenes(look(1, 20) + look(7, 3) + look(1, 20)) == [(0, 42, "start")]
    assert len(scenes(look(1, 20) + look(7, 4) + look(1, 20))) == 3


def at_pace(frames: list[Layouts], seconds: list[float]) -> list[int]:
    """Return the scene starts of frames at these intervals in time."""
    cells = np.array(frames, np.uint8)
    return find_scenes(cells, np.ones(len(frames), np.bool_), PARAMS, np.array(seconds)).first.tolist()


def test_sparse_frames_are_cut_although_their_neighbours_are_in_other_scenes() -> None:
    film = [frame for number in range(6) for frame in look(number, 2)]
    assert at_pace(film, [1.6 * at for at in range(12)]) == [0, 2, 4, 6, 8, 10]
    # At 25 frames per second, or at unknown times, the same frames are a camera that pans.
    assert at_pace(film, [0.04 * at for at in range(12)]) == [0, 2]
    assert at_pace(film, [np.nan] * 12) == [0, 2]
    assert [first for first, _, _ in scenes(film)] == [0, 2]


def test_objects_passing_between_sparse_frames_are_no_cut() -> None:
    passing = look(1, 4) + look(7, 1) + look(1, 3) + look(8, 2) + look(1, 4)
    assert at_pace(passing, [2.0 * at for at in range(len(passing))]) == [0]


def test_a_fade_separates_scenes_in_its_middle() -> None:
    down = [0.8, 0.6, 0.4, 0.2, 0.1, 0.0]
    fade = faded(look(1, 6), down) + [BLACK] * 4 + faded(look(2, 6), down[::-1])
    (_, end, _), (start, last, begins) = scenes(look(1, 20) + fade + look(2, 20))
    assert (begins, last, start) == ("fade", 55, end + 1)
    assert 24 <= start <= 32


def test_a_fade_to_black_and_back_is_no_new_scene() -> None:
    down = [0.8, 0.6, 0.4, 0.2, 0.1, 0.0]
    dip = faded(look(1, 6), down) + [BLACK] * 4 + faded(look(1, 6), down[::-1])
    assert scenes(look(1, 20) + dip + look(1, 20)) == [(0, 55, "start")]


def test_brighter_and_darker_is_the_same_scene() -> None:
    assert scenes(look(1, 20) + faded(look(1, 20), [0.5] * 20)) == [(0, 39, "start")]


def test_a_constantly_moving_camera_gives_no_cuts() -> None:
    assert scenes([place(i) for i in range(40)]) == [(0, 39, "start")]


def test_parameters_change_the_cuts() -> None:
    swung = [place(i) for i in range(40)]
    assert len(scenes(swung, params=SceneParams(steadiness=1, flash=0))) > 10
    assert len(scenes(look(1, 20) + look(7, 4) + look(1, 20), params=SceneParams(flash=4))) == 1
    assert len(scenes(look(1, 20) + look(2, 20), params=SceneParams(cut=-1))) == 1
    assert len(scenes(look(1, 20) + look(2, 20), params=SceneParams(faint=120))) == 1


def test_a_corrupt_frame_belongs_to_the_surrounding_scene() -> None:
    assert scenes([*look(1, 10), BLACK, *look(1, 10)], broken=(10,)) == [(0, 20, "start")]
    assert scenes([*look(1, 10), BLACK, *look(2, 10)], broken=(10,)) == [(0, 10, "start"), (11, 20, "cut")]
    assert scenes([BLACK, *look(1, 10)], broken=(0,)) == [(0, 10, "start")]


def test_no_frames_or_no_decodable_ones_give_no_scenes() -> None:
    assert scenes([]) == []
    assert scenes([BLACK] * 3, broken=(0, 1, 2)) == [(0, 2, "start")]
    assert scenes([place(1)]) == [(0, 0, "start")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=12), st.sets(st.integers(0, 60), max_size=8))
def test_scenes_cover_the_stream_once(parts: list[tuple[int, int]], broken: set[int]) -> None:
    frames = [frame for number, n in parts for frame in (look(number, n) if number else [BLACK] * n)]
    found = scenes(frames, broken=tuple(broken))
    assert [i for first, last, _ in found for i in range(first, last + 1)] == list(range(len(frames)))
    assert [begins for _, _, begins in found][:1] == ["start"] * bool(frames)


@pytest.mark.parametrize("n", [1, 5, 30])
def test_cuts_do_not_depend_on_the_length_of_a_scene(n: int) -> None:
    assert scenes(look(1, 10 * n) + look(2, 10)) == [(0, 10 * n - 1, "start"), (10 * n, 10 * n + 9, "cut")]


@pytest.mark.realdata
def test_cuts_and_fades_between_real_clips_are_found_and_no_others(real_data: Path) -> None:
    shots = [_shot(path) for path in sorted((real_data / "sequences").glob("*.mp4"))]
    pictures, starts = list(shots[0]), []
    for number, shot in enumerate(shots[1:]):
        starts.append((len(pictures), "fade" if number % 3 == 2 else "cut"))
        if starts[-1][1] == "fade":
            down = np.linspace(1, 0, 12)
            pictures[-12:] = faded(pictures[-12:], down.tolist())
            shot[:12] = faded(shot[:12], down[::-1].tolist())
        pictures += shot
    found = scenes(list(layouts(np.stack([to_tiles(picture) for picture in pictures]))))[1:]
    assert [begins for _, _, begins in found] == [kind for _, kind in starts]
    for (first, _, _), (start, kind) in zip(found, starts, strict=True):
        assert abs(first - start) <= (12 if kind == "fade" else 0)


def _shot(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Return the first 120 frames of a clip, reduced."""
    with av.open(str(path)) as clip:
        frames = (frame.to_ndarray(format="gray") for _, frame in zip(range(120), clip.decode(video=0), strict=False))
        return [
            cv2.resize(to_small(np.asarray(frame, np.uint8)), (160, 90), interpolation=cv2.INTER_AREA)
            for frame in frames
        ]
