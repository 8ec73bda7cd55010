"""Random numbers by hash: known permutations, and independence of what else there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.training.hashed_random import epoch_order, generator_for

_NAMES = st.lists(st.text(max_size=8), unique=True, max_size=20)


def test_the_same_image_draws_the_same_numbers_in_any_order() -> None:
    """What an image draws depends on seed, epoch and image alone."""
    first = generator_for(1, 2, "cam\x1f7").random(5)
    generator_for(1, 2, "another").random(100)
    np.testing.assert_array_equal(generator_for(1, 2, "cam\x1f7").random(5), first)


@pytest.mark.parametrize("other", [(2, 2, "a"), (1, 3, "a"), (1, 2, "b")])
def test_seed_epoch_and_image_change_the_numbers(other: tuple[int, int, str]) -> None:
    """Each of them does."""
    assert generator_for(*other).random() != generator_for(1, 2, "a").random()


@given(_NAMES, st.integers(0, 5), st.integers(0, 5))
def test_an_order_is_a_permutation(names: list[str], seed: int, epoch: int) -> None:
    """Every image comes once."""
    assert sorted(epoch_order(seed, epoch, names)) == list(range(len(names)))


@given(_NAMES.filter(lambda names: len(names) > 1))
def test_one_image_more_moves_no_others_against_each_other(names: list[str]) -> None:
    """Images that come later leave the order of the others as it was."""
    *others, added = names
    before = [others[at] for at in epoch_order(0, 0, others)]
    after = [names[at] for at in epoch_order(0, 0, names)]
    assert [name for name in after if name != added] == before


def test_epochs_differ() -> None:
    """An epoch has another order than the one before."""
    names = [str(n) for n in range(50)]
    assert list(epoch_order(0, 1, names)) != list(epoch_order(0, 2, names))


def test_images_of_one_name_are_refused() -> None:
    """Two images of one name would draw the same numbers."""
    with pytest.raises(ValueError, match="different ids"):
        epoch_order(0, 0, ["a", "a"])
