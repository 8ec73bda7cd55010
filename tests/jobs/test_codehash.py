from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import codehash
from jobs.codehash import code_hash, code_texts, normalised
from transforms import curation, duplicates, hashing, motion, pixels, quality

SOURCE = '''
from transforms.other import helper
from transforms import third
import numpy as np

LIMIT = 3
UNUSED = 4

class Params:
    x: int = 1

def inner(a):
    return a * LIMIT

def entry(a, params: Params):
    """Say something."""
    # Why.
    return inner(a) + helper(a) + third.more(a) + np.sum(a)

def lazily(a):
    from transforms.fourth import late
    return late(a)
'''
OTHERS = {
    "other": "def helper(a):\n    return a\n",
    "third": "def more(a):\n    return a\ndef unrelated(a):\n    return a\n",
    "fourth": "def late(a):\n    return a\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of algorithms whose text tests can change."""
    folder = tmp_path / "transforms"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "main.py").write_text(SOURCE)
    for name, text in OTHERS.items():
        (folder / f"{name}.py").write_text(text)

    def find_spec(name: str) -> object:
        return type("Spec", (), {"origin": str(folder / f"{name.partition('.')[2]}.py")})

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    codehash._module.cache_clear()
    yield folder
    codehash._module.cache_clear()


def places(entry: str) -> set[str]:
    codehash._module.cache_clear()
    return {f"{module}.{name}" for module, name in code_texts([("transforms.main", entry)])}


def text(entry: str) -> str:
    codehash._module.cache_clear()
    return str(code_texts([("transforms.main", entry)]))


def test_everything_that_is_reached_counts_and_nothing_else(package: Path) -> None:
    assert places("entry") == {
        "transforms.main.entry",
        "transforms.main.inner",
        "transforms.main.LIMIT",
        "transforms.other.helper",
        "transforms.third.more",
    }


def test_imports_inside_functions_are_followed(package: Path) -> None:
    assert places("lazily") == {"transforms.main.lazily", "transforms.fourth.late"}


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("LIMIT = 3", "LIMIT = 5", True),
        ("return a * LIMIT", "return a + LIMIT", True),
        ("UNUSED = 4", "UNUSED = 5", False),
        ("Say something.", "Say something else.", False),
        ("# Why.", "# Because.", False),
        ("x: int = 1", "x: int = 2", False),
    ],
)
def test_what_changes_the_text(package: Path, old: str, new: str, differs: bool) -> None:
    before = text("entry")
    (package / "main.py").write_text(SOURCE.replace(old, new))
    assert (text("entry") != before) is differs


def test_a_change_in_a_function_two_modules_away_counts(package: Path) -> None:
    before = text("entry")
    (package / "other.py").write_text("def helper(a):\n    return a + 1\n")
    assert text("entry") != before


def test_constants_that_are_assigned_together_count(package: Path) -> None:
    other = "LOW, (HIGH, _) = 1, (2, 3)\ndef helper(a):\n    return a + HIGH\n"
    (package / "other.py").write_text(other)
    (package / "main.py").write_text(SOURCE.replace("import helper", "import LOW, helper").replace("* LIMIT", "* LOW"))
    assert {"transforms.other.LOW", "transforms.other.HIGH"} <= places("entry")
    before = text("entry")
    (package / "other.py").write_text(other.replace("(2, 3)", "(4, 3)"))
    assert text("entry") != before


def test_normalised_text_has_no_docstrings_comments_or_blank_lines() -> None:
    assert normalised('def f():\n    """Doc\n    more."""\n\n    # why\n    return "# no comment"  # kept\n') == (
        'def f():\n    return "# no comment"  # kept'
    )


@pytest.mark.parametrize(
    "entry",
    [
        quality.measure_picture,
        quality.tone_statistics,
        hashing.phash,
        motion.motion_scores,
        duplicates.group_frames,
        curation.curate,
        pixels.measure_frames,
    ],
)
def test_real_stages_have_stable_hashes(entry: object) -> None:
    assert code_hash([entry]) == code_hash([entry])  # type: ignore[list-item]
    assert len(code_hash([entry])) == 16  # type: ignore[list-item]


def test_compiled_kernels_are_reached_without_importing_them() -> None:
    found = {name for _, name in code_texts([("transforms.duplicates", "group_frames")])}
    assert {"_join_leaders", "_nearest", "distance_of", "BANDS"} <= found
