"""Tests of the commands as a whole: their help, and that each imports what it uses alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from jobs.cli.program import program
from jobs.storage.workspace import Workspace
from tests.helpers import go, write_noise_stream

_LIST_MODULES = """
import json, os, sys
from jobs.cli.app import main
sys.argv = ["winnow", *sys.argv[1:]]
output = os.dup(1)
os.dup2(2, 1)
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
os.write(output, json.dumps(sorted(sys.modules)).encode())
"""
_MODELS = {"torch", "transformers", "onnxruntime", "open_clip", "ultralytics", "sam2", "faiss"}
_NEVER = {"pandas", "ray", "matplotlib", "scipy", "sklearn", "pytest"} | _MODELS


def imported_by(*words: str) -> set[str]:
    """Return the modules that a command has imported at its end, with their packages."""
    done = subprocess.run([sys.executable, "-P", "-c", _LIST_MODULES, *words], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Path:
    """A folder with a stream `cam` and a finished workspace `tables` of it."""
    folder = tmp_path_factory.mktemp("imports")
    go(Workspace.at(folder / "tables"), write_noise_stream(folder / "cam", range(4)))
    return folder


@pytest.mark.process
def test_the_help_imports_no_library_of_data() -> None:
    found = imported_by("--help")
    assert not found & (_NEVER | {"numpy", "pyarrow", "polars", "deltalake", "duckdb", "cv2", "numba", "pydantic"})


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["sql", "SELECT count(*) FROM curated"], {"numba", "av", "cv2", "PIL", "yaml", "conf.stages"}),
        (["run", "--set", "resources.commit_seconds=0.2", "--input"], {"numba", "av"}),
        (["inspect", "runs"], {"numba", "av"}),
        (["release", "list"], {"numba", "av", "cv2", "duckdb", "PIL"}),
    ],
)
def test_a_command_imports_its_own_module_and_what_it_uses(finished: Path, words: list[str], unused: set[str]) -> None:
    given = [*words, str(finished / "cam")] if words[-1] == "--input" else words
    found = imported_by(*given, "--workspace", str(finished / "tables"))
    assert not found & (_NEVER | unused)
    others = {"jobs.cli.demo", "jobs.cli.doctor", "jobs.cli.train", "jobs.cli.gateway", "jobs.cli.tables"}
    assert not found & others


def test_every_command_has_an_example_and_names_the_values_of_its_options() -> None:
    def leaves(command: Any, name: str) -> list[tuple[str, Any]]:
        if hasattr(command, "commands"):
            return [leaf for n, c in command.commands.items() for leaf in leaves(c, f"{name} {n}")]
        return [(name, command)]

    found = leaves(typer.main.get_command(program()), "winnow")
    assert len(found) > 15
    assert [name for name, command in found if f"Example: {name} " not in (command.help or "") + " "] == []
    for name, command in found:
        context = command.make_context(name, [], resilient_parsing=True)
        kinds = {p.name: p.display_type_rich(context) for p in command.get_params(context) if p.opts[0][0] == "-"}
        assert (kinds["help"], [kind for kind in kinds.values() if "<" in kind]) == ("", []), name
