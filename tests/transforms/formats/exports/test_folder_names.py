from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.exports.folder_names import folder_of

PARTS = st.sampled_from(["images", "images_", "Images", "labels__", "train", "yard", "yard_", "_images"])


@pytest.mark.parametrize(
    ("stream", "folder"),
    [("yard", "yard"), ("images", "images_"), ("site/LABELS/2", "site/LABELS_/2"), ("trainyard", "trainyard")],
)
def test_stream_folders_avoid_names_of_dataset_layouts(stream: str, folder: str) -> None:
    assert folder_of(stream) == folder


@given(st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, min_size=1, max_size=3))
def test_two_streams_never_share_a_folder(one: list[str], other: list[str]) -> None:
    if one != other:
        assert folder_of("/".join(one)) != folder_of("/".join(other))
