from __future__ import annotations

import hashlib

import numpy as np

from tests.helpers import SMALL
from transforms.frames.image import ImageParams, decode_gray, read_header, to_small
from transforms.metrics.hashing import phash
from transforms.synthetic import Sample


def test_frames_do_not_depend_on_the_order_of_access() -> None:
    again = Sample(SMALL.width, SMALL.height, timeline=SMALL.timeline)
    backwards = {i: again.file(i) for i in reversed(range(len(again.kinds))) if again.kinds[i] != "gap"}
    assert dict(SMALL.files()) == backwards


def test_every_planted_defect_is_present() -> None:
    files = dict(SMALL.files())
    planted = SMALL.planted
    assert len(files) == planted.n_files
    for first, last in planted.gaps:
        assert not set(range(first, last + 1)) & set(files)
    assert min(len(files[i]) for i in planted.corrupt) == 0
    for copy, original in planted.exact.items():
        assert files[copy] == files[original]
    distinct = {hashlib.sha256(data).digest() for data in files.values()}
    assert len(distinct) == len(files) - len(planted.exact)


def test_moving_frames_differ_and_near_duplicates_are_similar() -> None:
    files = dict(SMALL.files())
    small = {
        i: to_small(decode_gray(data, read_header(data), ImageParams()))
        for i, data in files.items()
        if i not in SMALL.planted.corrupt
    }
    hashes = dict(zip(small, phash(list(small.values())).tolist(), strict=True))
    moving = np.array([hashes[i] for i in small if SMALL.kinds[i] == "moving"], np.uint64)
    apart = np.bitwise_count(moving[:, None] ^ moving[None, :])
    assert apart[~np.eye(len(moving), dtype=bool)].min() > 8
    for copy, original in SMALL.planted.near.items():
        assert (hashes[copy] ^ hashes[original]).bit_count() <= 4


def test_the_sample_of_the_demo_is_large_enough() -> None:
    sample = Sample()
    assert sample.planted.n_files >= 400
    assert (sample.width, sample.height) == (1280, 720)
    kinds = {"moving", "idle", "dark", "blurred", "overexposed", "exact", "near", "gap"}
    assert set(sample.kinds) == kinds
    assert len(sample.planted.corrupt) == 2
