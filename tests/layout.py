"""Rules of layout and language as a program: `python -m tests.layout` prints what breaks them, and exits with 1."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from conf import STAGE_NAMES, PipelineConfig
from conf.parameter_docs import explanations
from tests.reference import ROOT, commands, described, pages

_ROOMS = ("schemas", "transforms", "conf", "jobs")
_MOST_LINES = 400
_TEXTS = {".py", ".md", ".toml", ".yaml", ".j2", ".ipynb", ".txt", ".ts", ".svelte", ".mjs", ".css", ".json", ""}
# What declares stages, or decides about them together; elsewhere a name of a stage is looked up, never compared.
_BY_STAGE = {"SPECS", "by_name", "earlier", "keys", "outcomes", "stages", "surveys", "_stages", "_surveys"}
_DECLARES_STAGES = {"conf/stages.py", "conf/brand_stages.py", "conf/stage_checks.py"}
_NO_STAGES = {
    ("jobs/analysis/labels.py", "frames"): "a kind of label",
    ("jobs/analysis/report_streams.py", "idle"): "a reason to drop a frame",
    ("jobs/cli/print_diff.py", "frames"): "a count among reasons",
    ("jobs/cli/watch.py", "frames"): "the head of a column",
}
# What npm records of where it found a package, unless it is configured not to.
_ADDRESSES = re.compile(r'"resolved"|https?://registry[.\w-]*')
_BY_SUBJECT = {
    "test_changed_files",
    "test_faults",
    "test_fault_rounds",
    "test_losses_of_each_table",
    "test_interleavings",
    "test_commands",
    "test_routing",
    "test_tracking",
    # Of the pages in jobs/web/ui, which are no modules.
    "test_pages_accounts",
    "test_pages_datasets",
    "test_pages_frames",
    "test_pages_jobs",
    "test_pages_models",
    "test_pages_oidc",
    "test_pages_new_run",
    "test_pages_rights",
    "test_pages_review_layers",
    "test_pages_runs",
    "test_pages_project",
    "test_pages_review",
    "test_pages_review_faults",
    "test_pages_thresholds",
    "test_pages_uploads",
    "test_full_disk",
    "test_planted_secrets",
    "test_server_kills",
}


def main() -> int:
    """Print every broken rule and return the exit code."""
    found = [
        *_modules(),
        *_class_names(),
        *_tests(),
        *_reference(),
        *_docstrings(),
        *_stage_names(),
        *_imports_in_texts(),
        *_indexes(),
    ]
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return 1 if found else 0


def _sources(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        yield from sorted((ROOT / room).rglob("*.py"))


def _modules() -> Iterator[str]:
    """No module is long, and none hides one of the standard library."""
    for path in _sources(*_ROOMS, "tests"):
        name = path.relative_to(ROOT)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > _MOST_LINES:
            yield f"{name}: {lines} lines, at most {_MOST_LINES} are allowed"
        if path.stem in sys.stdlib_module_names and path.stem not in {"__init__", "__main__"}:
            yield f"{name}: named like a module of the standard library"


def _class_names() -> Iterator[str]:
    """No two public classes of one name: a name means one thing, whichever module it is imported from."""
    first: dict[str, Path] = {}
    for path in _sources(*_ROOMS):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                other = first.setdefault(node.name, path)
                if other != path:
                    yield f"{path.relative_to(ROOT)}: class {node.name} is in {other.relative_to(ROOT)}, too"


def _tests() -> Iterator[str]:
    """Tests mirror the tree: a test file belongs to the module, or the command, that it is named after."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        below = path.relative_to(ROOT / "tests")
        module = ROOT / below.parent / f"{below.stem.removeprefix('test_')}.py"
        if below.parent != Path() and not module.exists() and below.stem not in _BY_SUBJECT:
            yield f"tests/{below}: there is no module {module.relative_to(ROOT)}"


def _reference() -> Iterator[str]:
    """Reference pages say what the code says; every command has an example, every key an explanation."""
    for page, text in pages().items():
        path = ROOT / page
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"{page}: not what the code says; run `make docs`"
    for words, function in commands():
        if not described(function)[1]:
            yield f"{words}: its help has no line that begins with `Example: `"
    kinds = [PipelineConfig, *(type(f.default) for f in dataclasses.fields(PipelineConfig))]
    for kind in kinds:
        if dataclasses.is_dataclass(kind):
            plain = [f.name for f in dataclasses.fields(kind) if not dataclasses.is_dataclass(f.default)]
            for key in set(plain) - set(explanations(kind)):
                yield f"{kind.__name__}: its docstring has no line that begins with `{key}`:"


def _docstrings() -> Iterator[str]:
    """The long description of each parameter class fits what readers see: a first line that is a sentence."""
    for entry in dataclasses.fields(PipelineConfig):
        if dataclasses.is_dataclass(entry.default):
            first = inspect.cleandoc(type(entry.default).__doc__ or "").split("\n", 1)[0]
            if not first.endswith("."):
                yield f"{type(entry.default).__name__}: the first line of its docstring is no sentence"


def _stage_names() -> Iterator[str]:
    """No module compares the name of a stage: what is specific to one is part of its declaration."""
    for path in _sources("conf", "jobs"):
        name = str(path.relative_to(ROOT))
        if name in _DECLARES_STAGES:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for word in _words_used_as_stages(node):
                if word in STAGE_NAMES and (name, word) not in _NO_STAGES:
                    yield f"{name}:{getattr(node, 'lineno', 0)}: names a stage, {word!r}; declare it in conf/stages.py"


def _words_used_as_stages(node: ast.AST) -> set[object]:
    """Return the constants that are compared, looked up in a mapping by stage, or given as `stage=`."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        found = [each for side in sides for each in (side, *getattr(side, "elts", []))]
    elif isinstance(node, ast.Subscript) and _last_name(node.value) in _BY_STAGE:
        found = [node.slice]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"get", "pop"}:
        found = node.args[:1] if _last_name(node.func.value) in _BY_STAGE else []
    elif isinstance(node, ast.keyword) and node.arg == "stage":
        found = [node.value]
    else:
        return set()
    return {each.value for each in found if isinstance(each, ast.Constant)}


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _imports_in_texts() -> Iterator[str]:
    """Programs that tests start from a text import modules that there are."""
    known = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in _sources(*_ROOMS)}
    found = re.compile(r"^\s*(?:from ((?:conf|jobs|schemas|transforms)[\w.]*) import (\w+(?:, \w+)*))", re.MULTILINE)
    for path in _sources("tests"):
        if path.stem == "test_code_hash":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            for module, names in found.findall(node.value):
                defined = _names_of(module) if module in known else frozenset()
                wrong = [n for n in names.split(", ") if f"{module}.{n}" not in known and n not in defined]
                if wrong:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}: {module} has no {', '.join(wrong)}"


def _names_of(module: str) -> frozenset[str]:
    path = ROOT / module.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    return frozenset(re.findall(r"\b\w+\b", text))


def _indexes() -> Iterator[str]:
    """No committed file names the host of a package index, nor a place on the machine it was written on."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    forbidden = re.compile(r"--(extra-)?index-url|--find-links|files\.pythonhosted|(?<![\w.~$}])/(root|home)/\w")
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.suffix not in _TEXTS or not path.is_file() or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if found := forbidden.search(line):
                yield f"{name}:{number}: names {found[0]!r}"
        if path.name == "uv.lock":
            yield f"{name}: lock files record index addresses; pins are in requirements-*.txt"
        if path.name == "package-lock.json" and (found := _ADDRESSES.search(path.read_text(encoding="utf-8"))):
            yield f"{name}: names {found[0]!r}; write it with the .npmrc next to it"


if __name__ == "__main__":
    sys.exit(main())
