"""Runs every notebook on a fresh demo with a clip in it: `python -m tests.notebooks`. Fails if a cell does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.helpers import noise, write_clip
from tests.reference import ROOT


def main() -> None:
    """Make a demo, and run the notebooks with it as their workspace; what they print is not kept."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "jobs.cli", "demo", "--json", "--out", place]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        os.environ["WINNOW_WORKSPACE"] = f"{place}/tables"
        clip = write_clip(Path(place) / "gate.mp4", [noise(0)] * 20)
        command = [sys.executable, "-m", "jobs.cli", "run", "--input", str(clip), "--json"]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        # The kernel is this interpreter, also where other kernels are installed.
        os.environ["JUPYTER_PATH"] = str(Path(sys.prefix) / "share/jupyter")
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            NotebookClient(notebook, timeout=300, resources={"metadata": {"path": place}}).execute()
            sys.stdout.write(f"{path.relative_to(ROOT)}: {len(notebook.cells)} cells\n")


if __name__ == "__main__":
    main()
