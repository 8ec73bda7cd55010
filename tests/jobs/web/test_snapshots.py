"""Lists that are kept while somebody scrolls: which are kept, and which are not."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.web.frame_columns import FrameKeys
from jobs.web.problems import GoneError
from jobs.web.snapshots import FrameList, Snapshots

_KEYS = FrameKeys(("a", "b"), np.array([0, 3, 5]), np.array([1, 2, 9, 4, 7]))


def test_pages_are_parts_of_the_order() -> None:
    whole = FrameList(_KEYS, None)
    assert whole.page(1, 3) == [("a", 2), ("a", 9), ("b", 4)]
    some = FrameList(_KEYS, np.array([4, 0, 2], np.uint32))
    assert (len(some), some.page(0, 2), some.page(2, 9), some.page(9, 9)) == (
        3,
        [("b", 7), ("a", 1)],
        [("a", 9)],
        [],
    )


def test_the_same_list_has_the_same_id() -> None:
    kept = Snapshots()
    one, other = FrameList(_KEYS, None), FrameList(_KEYS, None)
    assert kept.add(one) == kept.add(one) != kept.add(other)


def test_the_list_that_was_used_least_goes_first() -> None:
    kept = Snapshots(most=2)
    first, second = (kept.add(FrameList(_KEYS, None)) for _ in range(2))
    kept.get(first)
    third = kept.add(FrameList(_KEYS, None))
    assert len(kept.get(first)) == len(kept.get(third)) == 5
    with pytest.raises(GoneError, match="ask for it again without `snapshot`"):
        kept.get(second)


def test_bytes_are_limited_too_but_one_list_is_always_kept() -> None:
    kept = Snapshots(most_bytes=50)
    names = [kept.add(FrameList(_KEYS, np.zeros(5, np.uint32))) for _ in range(2)]
    # 40 bytes of keys, which they share, and 20 of each.
    with pytest.raises(GoneError):
        kept.get(names[0])
    assert len(kept.get(names[1])) == 5
