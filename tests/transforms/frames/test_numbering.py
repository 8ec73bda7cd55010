from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.frames.name_pattern import FrameNameError
from transforms.frames.numbering import follows, gaps, n_missing, order_files, stride


def ordered(names: list[str], glob: str = "*") -> list[str]:
    found = order_files(pa.array(names, pa.string()), glob)
    return [names[i] for i in found.chosen]


def test_frames_are_ordered_by_number_not_by_name() -> None:
    assert ordered(["image_10.jpg", "image_9.jpg", "image_0.jpg"]) == ["image_0.jpg", "image_9.jpg", "image_10.jpg"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("image_0.jpg", 0),
        ("000017.png", 17),
        ("cam1-left_0042.JPEG", 42),
        ("2024-05-01T12.30.07.webp", 7),
        ("frame12.tiff", 12),
        ("x7.bmp", 7),
        ("t1714567890123456789.tif", 1714567890123456789),
        ("t9223372036854775807.tif", 2**63 - 1),
        ("t9223372036854775808.tif", None),
        ("t11714567890123456789.tif", None),
        ("t171456789012345678.tif", 171456789012345678),
    ],
)
def test_the_number_is_the_last_one_before_the_extension(name: str, number: int | None) -> None:
    if number is None:
        with pytest.raises(FrameNameError, match=name):
            order_files(pa.array([name]), "*")
    else:
        assert order_files(pa.array([name]), "*").frame_idx.tolist() == [number]


def test_files_that_are_no_frames_are_counted() -> None:
    names = ["image_1.jpg", "notes.txt", "image_2.mp4", "image.jpg", "image_3 (1).jpg", ".image_4.jpg.partial"]
    found = order_files(pa.array(names), "*")
    assert [names[i] for i in found.chosen] == ["image_1.jpg"]
    assert found.n_ignored == 5


def test_hidden_files_are_no_frames() -> None:
    found = order_files(pa.array(["image_0.jpg", "._image_0.jpg", ".hidden_9.jpg", "a.b_2.jpg"]), "*")
    assert (found.chosen.tolist(), found.frame_idx.tolist()) == ([0, 3], [0, 2])
    assert (found.n_ignored, found.repeated) == (2, {})


def test_glob_narrows_the_frames() -> None:
    assert ordered(["left_1.jpg", "right_1.jpg", "left_0.jpg"], "left_*.jpg") == ["left_0.jpg", "left_1.jpg"]


def test_files_with_the_same_number_are_reported_and_skipped() -> None:
    found = order_files(pa.array(["a_1.jpg", "b_01.jpg", "a_2.jpg", "a_2.png"]), "*")
    assert found.frame_idx.tolist() == []
    assert found.repeated == {1: ["a_1.jpg", "b_01.jpg"], 2: ["a_2.jpg", "a_2.png"]}


def test_an_empty_folder_gives_no_frames() -> None:
    assert order_files(pa.array([], pa.string()), "*").frame_idx.tolist() == []


@given(st.sets(st.integers(0, 10**17), max_size=60), st.randoms(use_true_random=False))
def test_frames_are_sorted_for_any_numbers(numbers: set[int], random: object) -> None:
    names = [f"f_{n}.png" for n in numbers]
    found = order_files(pa.array(names, pa.string()), "*")
    assert found.frame_idx.tolist() == sorted(numbers)
    assert [names[i] for i in found.chosen] == [f"f_{n}.png" for n in sorted(numbers)]


def test_gaps_are_intervals_with_inclusive_ends() -> None:
    index = np.array([0, 1, 2, 6, 7, 9])
    assert gaps(index, 1) == [{"start": 3, "end": 5}, {"start": 8, "end": 8}]
    assert n_missing(gaps(index, 1), 1) == 4
    assert follows(index, 1).tolist() == [False, True, True, False, True, False]


def test_streams_of_every_tenth_frame_have_only_real_gaps() -> None:
    index = np.array([0, 10, 20, 30, 40, 50, 80, 90])
    assert stride(index) == 10
    assert gaps(index, 10) == [{"start": 60, "end": 70}]
    assert n_missing(gaps(index, 10), 10) == 2


@pytest.mark.parametrize(
    ("apart", "step"),
    [
        ([1] * 20 + [7, 3], 1),
        ([10] * 29 + [5], 10),
        ([10, 20] * 10, 10),
        ([2, 1, 2] * 10, 1),
        ([33, 33, 34] * 10 + [700, 2], 34),
        ([99_870_111, 100_020_300, 100_000_000, 100_119_999] * 5, 100_119_999),
        ([1, 2, 3, 5, 8, 13, 21, 34], 1),
    ],
)
def test_stride_is_the_usual_difference_of_the_stream(apart: list[int], step: int) -> None:
    assert stride(np.concatenate([[5], 5 + np.cumsum(apart)])) == step


def test_few_frames_give_stride_1() -> None:
    assert stride(np.array([0, 5])) == 1
    assert stride(np.array([3])) == 1
    assert stride(np.array([], np.int64)) == 1


@given(st.sets(st.integers(0, 300), min_size=1, max_size=80), st.integers(1, 4))
def test_gaps_contain_exactly_the_missing_numbers(numbers: set[int], step: int) -> None:
    index = np.array(sorted(numbers)) * step
    covered = set(index.tolist())
    for gap in gaps(index, step):
        covered |= set(range(gap["start"], gap["end"] + 1, step))
    assert covered == set(range(int(index[0]), int(index[-1]) + 1, step))
    assert n_missing(gaps(index, step), step) == len(covered) - len(index)
