from __future__ import annotations

from pathlib import Path

import pytest

from transforms.models.detect.category_names import COCO, names_in, read_names


def test_coco_has_80_names() -> None:
    assert (len(COCO), len(set(COCO)), COCO[0], COCO[79]) == (80, 80, "person", "toothbrush")


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", "cat\n\n wild dog \n"), ("a.yaml", "names: [cat, wild dog]"), ("a.yml", "names: {1: wild dog, 0: cat}")],
)
def test_names_are_read_from_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_names(tmp_path / name) == ("cat", "wild dog")


@pytest.mark.parametrize(
    ("name", "text"), [("a.txt", ""), ("a.yaml", "{"), ("a.yaml", "names: {2: x}"), ("a.txt", "x\nx")]
)
def test_files_without_usable_names_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"expected|not valid"):
        read_names(tmp_path / name)


def test_names_are_read_from_metadata() -> None:
    assert names_in({"names": "{0: 'cat', 1: 'dog'}"}) == ("cat", "dog")
    assert names_in({}) == names_in({"names": "import os"}) == names_in({"names": "{3: 'x'}"}) == ()
