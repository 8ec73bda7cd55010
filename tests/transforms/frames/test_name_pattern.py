from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.frames.name_pattern import LAST_NUMBER, FrameNameError, NamePattern

T0 = 1705314647
"""2024-01-15 10:30:47 UTC."""


@pytest.mark.parametrize(
    ("pattern", "name", "number"),
    [
        ("{any}{index}", "cam1-left_0042.JPEG", 42),
        ("x{index:3}.png", "x017.png", 17),
        ("{{{index}}}", "{5}.jpg", 5),
        ("{time:%Y-%m-%d_%H-%M-%S}", "2024-01-15_10-30-47.jpg", T0),
        ("{time:%Y-%m-%dT%H%M%S%z}", "2024-01-15T103047+0800.jpg", T0 - 8 * 3600),
        ("{time:%Y-%m-%dT%H%M%S%z}", "2024-01-15T103047-03:30.jpg", T0 + 3 * 3600 + 1800),
        ("{time:%Y-%m-%dT%H%M%S%z}", "2024-01-15T103047Z.jpg", T0),
        ("{time:%d %b %Y %I.%M.%S %p}", "15 Jan 2024 10.30.47 am.jpg", T0),
        ("{time:%d %b %Y %I.%M.%S %p}", "15 Jan 2024 12.30.47 PM.jpg", T0 + 2 * 3600),
        ("{time:%d %b %Y %I.%M.%S %p}", "15 Jan 2024 12.30.47 AM.jpg", T0 - 10 * 3600),
        ("{time:%y%j_%H%M}", "24015_1030.jpg", T0 - 47),
        ("{time:%s.%f}", "1705314647.25.jpg", T0 * 10**6 + 250_000),
        ("{time:%s.%9f}", "1705314647.000000001.jpg", T0 * 10**9 + 1),
        ("{time:%H%M%S%2f}", "00010050.jpg", 60_500),
        ("{time:ms}", "1705314647123.jpg", T0 * 1000 + 123),
        ("{sequence}_{index:4}", "12_0034.jpg", 120034),
        ("{sequence}_{index}", "12_34.jpg", 12 * 10**9 + 34),
        ("{index:3}_{sequence:2}", "034_12.jpg", 12034),
        ("{time:%s}_{index:2}", "1705314647_07.jpg", T0 * 100 + 7),
        ("{index:9990..9999}", "9990.jpg", 9990),
        ("{index:9990..9999}", "0004.jpg", 10004),
    ],
)
def test_a_number_is_what_the_pattern_says(pattern: str, name: str, number: int) -> None:
    read = NamePattern.parse(pattern).read(pa.array([name, "cover.jpg", "movie.mp4"]))
    assert (read.at.tolist(), read.frame_idx.tolist()) == ([0], [number])


@pytest.mark.parametrize(
    ("pattern", "name", "t_ns"),
    [
        ("{time:%Y-%m-%d_%H-%M-%S}", "2024-01-15_10-30-47.jpg", T0 * 10**9),
        ("{time:%s.%f}", "1705314647.25.jpg", T0 * 10**9 + 250_000_000),
        ("{time:us}", "1705314647000001.jpg", T0 * 10**9 + 1000),
        ("{time:%s}_{index:2}", "1705314647_07.jpg", T0 * 10**9),
    ],
)
def test_a_time_is_in_nanoseconds(pattern: str, name: str, t_ns: int) -> None:
    read = NamePattern.parse(pattern).read(pa.array([name]))
    assert read.t_ns is not None
    assert read.t_ns.tolist() == [t_ns]


def test_times_of_day_and_starts_of_sequences_are_no_times_of_frames() -> None:
    for pattern, name in (("{time:%H-%M-%S}", "10-30-47.jpg"), ("{sequence:%s}_{index}", "1705314647_1.jpg")):
        assert NamePattern.parse(pattern).read(pa.array([name])).t_ns is None


def test_streams_are_texts_joined_by_underscores() -> None:
    read = NamePattern.parse("{stream}-{index}_{stream}").read(pa.array(["left-1_rgb.png", "right-1_depth.png"]))
    assert read.stream is not None
    assert read.stream.to_pylist() == ["left_rgb", "right_depth"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("frame", "has no number; expected a field {index} or {time:FORMAT}"),
        ("{indx}", "there is no field {indx}; expected {index}"),
        ("{index", "a single {; expected a field such as {index}, or {{"),
        ("{index}}", "a single }"),
        ("{any:3}{index}", "{any:3}; expected {any}, which takes no format"),
        ("{time}", "{time} needs a format"),
        ("{index:x}", "{index:x}; expected the number of digits, as in {index:6}"),
        ("{index:10..9998}", "expected the first number and the last, as in 9990..9999"),
        ("{index}_{index}", "has {index} 2 times; expected one"),
        ("{sequence}_{time:ms}", "time alone orders frames"),
        ("a/{index}", "holds a /; expected a pattern of file names"),
        ("{time:%Y-%q}", "%q is not known"),
        ("{time:%Y-%m-%d %Y}", "%Y is there twice"),
        ("{time:%m-%d}", "has no year"),
        ("{time:%Y}", "says no time"),
        ("{time:%H-%S}", "has %S without %M"),
        ("{time:%Y-%d_%H}", "has %d without %b or %m"),
        ("{time:%s_%H}", "%s is the whole time"),
        ("{time:%I-%M}", "has %I without %p"),
        ("{time:%Y%m%d%H%I}", "without %p"),
    ],
)
def test_a_wrong_pattern_is_refused_with_what_is_wrong(pattern: str, said: str) -> None:
    with pytest.raises(FrameNameError) as caught:
        NamePattern.parse(pattern)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "name", "said"),
    [
        ("{any}{index}", "t9223372036854775808.tif", "the number in 't9223372036854775808.tif' is above"),
        ("{time:%Y-%m-%d}-{index}", "2024-02-31-1.jpg", "'2024-02-31-1.jpg': its date does not exist"),
        ("{time:%Y-%m-%d}-{index}", "1969-02-21-1.jpg", "'1969-02-21-1.jpg': its time is before 1970"),
        ("{sequence}_{index}", "1_1234567890.jpg", "1234567890 has more than 9 digits"),
        ("{sequence}_{index}", "92233720368_1.jpg", "make one above"),
        ("{time:ns}", "9999999999999999999.jpg", "its number is above"),
    ],
)
def test_a_name_that_cannot_be_is_named(pattern: str, name: str, said: str) -> None:
    with pytest.raises(FrameNameError) as caught:
        NamePattern.parse(pattern).read(pa.array(["2024-01-01-1.jpg", name]))
    assert said in str(caught.value)


def test_names_with_line_breaks_and_signs_are_read() -> None:
    names = ["a\nb [1] (x) #5.jpg", "ü$^_7.PNG"]
    assert LAST_NUMBER.read(pa.array(names)).frame_idx.tolist() == [5, 7]
