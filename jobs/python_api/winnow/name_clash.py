"""The check that nothing hides our packages, whose names are common: it runs before any of them is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = ("conf", "jobs", "schemas", "transforms")
"""Packages of ours next to this one, which a folder or a module of the user hides if it comes earlier in `sys.path`."""

_SOURCE_ROOT = ("jobs", "python_api")
_WRONG_USAGE = 2


def require_our_packages() -> None:
    """Raise `ImportError`, with one line, if something else hides one of our packages.

    Where this process is the command `winnow`, print the line to standard error and exit with 2 instead.
    """
    hidden = {name: path for name in PACKAGES if (path := _hidden_by(name))}
    if not hidden:
        return
    message = explain(hidden)
    if not _is_command():
        raise ImportError(message, name="winnow", path=str(next(iter(hidden.values()))))
    sys.stderr.write(f"error: {message}\n")
    words = sys.argv[1:]
    if "--json" in (words[: words.index("--")] if "--" in words else words):
        import json

        sys.stdout.write(json.dumps({"error": [message], "exit_code": _WRONG_USAGE}) + "\n")
    sys.exit(_WRONG_USAGE)


def explain(hidden: dict[str, Path]) -> str:
    """Return one line that says which packages are hidden, by which paths, and what helps."""
    one = len(hidden) == 1
    owners = {path: owner for path in hidden.values() if (owner := _owner(path))}
    remedies = {} if len(owners) == len(hidden) else {f"rename {'it' if one else 'them'}": None}
    for path in hidden.values():
        remedies |= dict.fromkeys(_remedies(path.parent, owners.get(path)))
    *first, last = remedies
    what = f"its package{'' if one else 's'} {', '.join(hidden)}"
    named = [f"{path}{f' (of the package {owners[path]})' if path in owners else ''}" for path in hidden.values()]
    by = f"{', '.join(named)} hide{'s' if one else ''} {'it' if one else 'them'}"
    return f"winnow cannot import {what}: {by}; {', '.join(first)}{' or ' if first else ''}{last}"


def _owner(path: Path) -> str | None:
    """Return the installed package that a file or a folder is part of, None if it is of none."""
    from importlib.metadata import distributions

    for found in distributions(path=[str(path.parent)]):
        if any(file.parts[:1] == (path.name,) for file in found.files or ()):
            return str(found.metadata["Name"])
    return None


def _remedies(folder: Path, owner: str | None) -> list[str]:
    """Return what keeps a folder off `sys.path`, by how it came there; `owner` is the package that installed it."""
    if owner is not None:
        return ["give winnow an environment of its own (uv tool install winnow)", f"uninstall {owner}"]
    first = Path(sys.path[0]).resolve() if sys.path else None
    if not sys.flags.safe_path and first == folder.resolve():
        elsewhere = ["run from another folder"] if first == Path.cwd() else []
        return [*elsewhere, "start Python with -P"]
    listed = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if folder.resolve() in {Path(entry).resolve() for entry in listed}:
        return [f"take {folder} out of PYTHONPATH"]
    return [f"take {folder} off sys.path"]


def _hidden_by(name: str) -> Path | None:
    """Return the folder or file that Python imports under the name of a package of ours, None if that is ours."""
    found = _imported_from(name)
    ours = {(root / name).resolve() for root in _roots()}
    return None if found is None or found.resolve() in ours else found


def _imported_from(name: str) -> Path | None:
    """Return the folder of a package, or the file of a module, that is or would be imported; None if there is none."""
    module = sys.modules.get(name)
    if module is not None:
        origin, folders = getattr(module, "__file__", None), list(getattr(module, "__path__", ()))
    elif spec := importlib.util.find_spec(name):
        origin, folders = spec.origin, list(spec.submodule_search_locations or ())
    else:
        return None
    found = folders[0] if folders else origin
    return found and Path(found).absolute()


def _roots() -> list[Path]:
    """Return the folders that ours may be in: next to this package as installed, or the checkout that it is part of."""
    holder = Path(__file__).absolute().parent.parent
    return [holder, *([holder.parent.parent] if holder.parts[-2:] == _SOURCE_ROOT else [])]


def _is_command() -> bool:
    """Say whether this process was started as `winnow` or as `python -m winnow`."""
    if not sys.argv:
        return False
    if sys.argv[0] == "-m":
        # So it reads while Python looks for the module; the arguments proper come after its name, at the end.
        name = sys.orig_argv[-len(sys.argv)]
        return name == "winnow" or (name.startswith("-") and name.endswith("mwinnow"))
    return Path(sys.argv[0]).name == "winnow"
