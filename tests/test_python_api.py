"""The examples in the docstrings of `winnow`, and the package as a program imports it."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import winnow
from tests.helpers import copy_stream

pytestmark = pytest.mark.process

MODULES = ("winnow", "winnow.running", "winnow.workspace_view")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Iterator[Path]:
    """A folder with frames of a camera and the workspace of one run in it, which is the current one."""
    folder = tmp_path_factory.mktemp("python")
    copy_stream(sample_folder, folder / "frames")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("WINNOW_WORKSPACE", raising=False)
        winnow.run("frames", settings={"curation.dark_mean": 20})
        yield folder


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        for example in finder.find(import_module(name), name, globs={"winnow": winnow}):
            if example.examples:
                yield example


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_examples_in_docstrings_give_the_shown_results(example: doctest.DocTest, place: Path) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example, out=said.append).failed == 0, "".join(said)


def test_all_that_is_public_has_a_docstring() -> None:
    public = [getattr(winnow, name) for name in winnow.__all__]
    public += [value for name, value in vars(winnow.WorkspaceView).items() if not name.startswith("_")]
    assert [value for value in public if not value.__doc__] == []


def test_importing_the_package_imports_no_library() -> None:
    program = "import sys, winnow; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(found) - sys.stdlib_module_names <= {"winnow", "__main__", "_distutils_hack", "distutils-precedence"}


def test_reading_tables_imports_neither_torch_nor_ray(place: Path) -> None:
    program = "import sys, winnow; winnow.open().sql('SELECT 1'); print({'ray', 'torch', 'typer'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=place)
    assert found.stdout == "set()\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'winnow' has no attribute 'opne'"):
        winnow.opne  # type: ignore[attr-defined] # noqa: B018
