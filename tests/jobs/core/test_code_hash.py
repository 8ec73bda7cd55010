from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.core import code_hash as codehash
from jobs.core import code_names
from jobs.core.code_hash import code_hash, reached
from jobs.core.code_names import Definition, UntraceableCodeError
from transforms.curate import curation
from transforms.curate.duplicates import grouping
from transforms.metrics import hashing, measure, motion, quality

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
    if a is None:
        raise ValueError(f"expected {LIMIT} numbers")
    return inner(a) + helper(a) + third.more(a) + np.sum(a)

def lazily(a):
    from transforms.fourth import late
    return late(a)

def deeply(a):
    import transforms.sub.deep
    return transforms.sub.deep.down(a)

class Machine:
    step = 2
    def __init__(self, a):
        self.a = inner(a)
    def run(self):
        return self.a + self.step + self.turn()
    def turn(self):
        return third.more(1)
    def idle(self):
        return helper(2)
'''
OTHERS = {
    "other.py": "def helper(a):\n    return a\n",
    "third.py": "def more(a):\n    return a\ndef unrelated(a):\n    return a\n",
    "fourth.py": "def late(a):\n    return a\n",
    "sub/__init__.py": "from transforms.sub.deep import down as lower\n",
    "sub/deep.py": "def down(a):\n    return a\n",
}


SUM = "inner(a) + helper(a) + third.more(a) + np.sum(a)"
NEXT_LINE = "  # and\n        +\n        "


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of algorithms whose text tests can change."""
    folder = tmp_path / "transforms"
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "main.py").write_text(SOURCE)
    for name, text in OTHERS.items():
        (folder / name).write_text(text)

    def find_spec(name: str) -> object:
        path = tmp_path.joinpath(*name.split("."))
        found = next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)
        return found and type("Spec", (), {"origin": str(found)})

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    forget()
    yield folder
    forget()


def forget() -> None:
    for kept in (code_names.source_of, code_names.source_module, codehash._described, codehash._hash_of):
        kept.cache_clear()


def places(entry: str) -> set[str]:
    forget()
    return {f"{module}.{name}" for module, name in reached([Definition("transforms.main", entry)])}


def digest(entry: str = "entry") -> str:
    forget()
    return codehash._hash_of((Definition("transforms.main", entry),))


def test_all_reached_code_counts_and_no_other(package: Path) -> None:
    assert places("entry") == {
        "transforms.main.entry",
        "transforms.main.inner",
        "transforms.main.LIMIT",
        "transforms.other.helper",
        "transforms.third.more",
    }


def test_imports_inside_functions_are_followed(package: Path) -> None:
    assert places("lazily") == {"transforms.main.lazily", "transforms.fourth.late"}
    assert places("deeply") == {"transforms.main.deeply", "transforms.sub.deep.down"}


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("from transforms.sub import deep", "deep.down(a)"),
        ("from transforms.sub import deep as low", "low.down(a)"),
        ("from transforms import sub", "sub.deep.down(a)"),
        ("from transforms.sub import lower", "lower(a)"),
        ("from transforms.sub.deep import down", "down(a)"),
        ("import transforms.sub.deep", "transforms.sub.deep.down(a)"),
        ("import transforms.sub.deep as low", "low.down(a)"),
        ("import transforms", "transforms.sub.lower(a)"),
    ],
)
def test_every_way_to_import_reaches_the_same(package: Path, line: str, call: str) -> None:
    (package / "main.py").write_text("from transforms.sub.deep import down\ndef entry(a):\n    return down(a)\n")
    plain = digest()
    for source in (f"{line}\ndef entry(a):\n    return {call}\n", f"def entry(a):\n    {line}\n    return {call}\n"):
        (package / "main.py").write_text(source)
        assert places("entry") == {"transforms.main.entry", "transforms.sub.deep.down"}
        assert digest() == plain


def test_a_method_counts_with_the_members_that_it_uses(package: Path) -> None:
    assert places("Machine.run") == {
        "transforms.main.Machine.run",
        "transforms.main.Machine.__init__",
        "transforms.main.Machine.step",
        "transforms.main.Machine.turn",
        "transforms.main.inner",
        "transforms.main.LIMIT",
        "transforms.third.more",
    }


def test_a_method_counts_with_inherited_members(package: Path) -> None:
    derived = "from transforms.main import Machine\nclass Small(Machine):\n"
    derived += "    def walk(self):\n        return self.turn()\n"
    (package / "fourth.py").write_text(derived)
    forget()
    found = reached([Definition("transforms.fourth", "Small.walk")])
    assert Definition("transforms.main", "Machine.turn") in found
    assert Definition("transforms.main", "Machine.idle") not in found


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("LIMIT = 3", "LIMIT = 5", True),
        ("LIMIT = 3", "LIMIT = 3.0", True),
        ("return a * LIMIT", "return a + LIMIT", True),
        ("np.sum(a)", "np.max(a)", True),
        ("import numpy as np", "import cupy as np", True),
        ("helper(a) + third", "third", True),
        ("UNUSED = 4", "UNUSED = 5", False),
        ("Say something.", "Say something else.", False),
        ("# Why.", "# Because.", False),
        ("LIMIT = 3", "LIMIT = 3  # of them", False),
        ("LIMIT = 3", "LIMIT = (\n    3\n)", False),
        ("def inner(a):\n", "def inner(\n    a,\n):\n\n", False),
        (SUM, f"({SUM.replace(' + ', NEXT_LINE)})", False),
        ("x: int = 1", "x: int = 2", False),
        ("params: Params", "params: object", False),
        ('f"expected {LIMIT} numbers"', 'f"fewer than {LIMIT}"', False),
        ("raise ValueError(", "raise TypeError(", True),
    ],
)
def test_the_code_hash_changes_with_results_only(package: Path, old: str, new: str, differs: bool) -> None:
    before = digest()
    assert old in SOURCE
    (package / "main.py").write_text(SOURCE.replace(old, new))
    assert (digest() != before) is differs


def test_a_change_in_a_function_two_modules_away_counts(package: Path) -> None:
    before = digest()
    (package / "other.py").write_text("def helper(a):\n    return a + 1\n")
    assert digest() != before


def test_the_code_hash_ignores_the_location_of_code(package: Path) -> None:
    before = digest()
    (package / "other.py").unlink()
    (package / "sub" / "elsewhere.py").write_text(OTHERS["other.py"])
    (package / "sub" / "thirds.py").write_text(OTHERS["third.py"])
    moved = SOURCE.replace("transforms.other", "transforms.sub.elsewhere")
    moved = moved.replace("from transforms import third", "from transforms.sub import thirds")
    (package / "main.py").write_text(moved.replace("third.more", "thirds.more"))
    assert digest() == before


def test_two_functions_of_one_name_have_different_hashes(package: Path) -> None:
    (package / "fourth.py").write_text("def more(a):\n    return -a\n")
    source = "from transforms import third, fourth\ndef entry(a):\n    return {}.more(a) - {}.more(2)\n"
    (package / "main.py").write_text(source.format("third", "third") + "def other(a):\n    return fourth.more(a)\n")
    before = digest()
    (package / "main.py").write_text(source.format("fourth", "third"))
    assert digest() != before


def test_a_name_that_is_bound_within_a_function_is_no_module(package: Path) -> None:
    source = (
        "from transforms import third\n"
        "def entry(a, other):\n"
        "    held = [third.x for third in other]\n"
        "    return held, third.more(a), (lambda third: third)(1)\n"
    )
    (package / "main.py").write_text(source)
    assert places("entry") == {"transforms.main.entry", "transforms.third.more"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("from .other import helper\ndef entry(a):\n    return helper(a)\n", "relative import"),
        ("def entry(a):\n    from . import other\n    return other.helper(a)\n", "relative import"),
        ("from transforms.other import *\ndef entry(a):\n    return helper(a)\n", "star import"),
        ("from transforms import other\ndef entry(a):\n    return getattr(other, a)\n", "used as a value"),
        ("from transforms import nowhere\ndef entry(a):\n    return nowhere.f(a)\n", "has no nowhere"),
        ("from transforms import other\ndef entry(a):\n    return other.gone(a)\n", "transforms.other has no gone"),
    ],
)
def test_untraceable_code_is_refused_with_the_reason(package: Path, source: str, said: str) -> None:
    (package / "main.py").write_text(source)
    with pytest.raises(UntraceableCodeError, match=said):
        digest()


def test_constants_that_are_assigned_together_count(package: Path) -> None:
    other = "LOW, (HIGH, _) = 1, (2, 3)\ndef helper(a):\n    return a + HIGH\n"
    (package / "other.py").write_text(other)
    (package / "main.py").write_text(SOURCE.replace("import helper", "import LOW, helper").replace("* LIMIT", "* LOW"))
    assert {"transforms.other.LOW", "transforms.other.HIGH"} <= places("entry")
    before = digest()
    (package / "other.py").write_text(other.replace("(2, 3)", "(4, 3)"))
    assert digest() != before


def test_every_definition_of_a_name_counts(package: Path) -> None:
    other = "try:\n    import fast\n    helper = fast.helper\nexcept ImportError:\n    helper = abs\n"
    (package / "other.py").write_text(other)
    before = digest()
    (package / "other.py").write_text(other.replace("abs", "len"))
    assert digest() != before


@pytest.mark.parametrize(
    "entry",
    [
        quality.measure_picture,
        quality.tone_statistics,
        hashing.phash,
        motion.motion_scores,
        grouping.group_frames,
        curation.curate,
        measure.measure_frames,
    ],
)
def test_real_stages_have_stable_hashes(entry: object) -> None:
    assert code_hash([entry]) == code_hash([entry])  # type: ignore[list-item]
    assert len(code_hash([entry])) == 16  # type: ignore[list-item]


def test_compiled_kernels_are_reached_without_importing_them() -> None:
    found = {name for _, name in reached([Definition("transforms.curate.duplicates.grouping", "group_frames")])}
    assert {"_settle", "_search_ahead", "_nearest", "distance_of", "BANDS"} <= found


def test_ways_to_reach_bytes_are_not_followed() -> None:
    found = {module for module, _ in reached([Definition("transforms.frames.clip", "Clip")])}
    assert "transforms.frames.container" in found
    assert not found & {"transforms.io.object_store", "transforms.io.credentials"}
