"""The wheel as it is built, from a checkout and from a source distribution, and an editable installation."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from jobs.engine.code_wheel import write_wheel
from tests.reference import ROOT

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not (find_spec("hatchling") and find_spec("editables")),
        reason="hatchling, which builds the wheel, is not installed",
    ),
]
PAGES = "jobs/web/static/"
IMPORTED = """
import json, sys
import winnow
from importlib.metadata import version
from importlib.resources import files
import conf, jobs, schemas, transforms
from jobs.engine.code_wheel import code_identity
print(json.dumps({
    "files": [module.__file__ for module in (winnow, conf, jobs, schemas, transforms)],
    "profile": winnow.load("annotate").profile,
    "template": any(files("jobs.analysis").joinpath("templates").iterdir()),
    "version": winnow.__version__,
    "identity": code_identity(),
}))
"""


def build(target: str, source: Path, out: Path) -> Path:
    """Build a wheel or a source distribution of a folder, as any build frontend does."""
    hook = {"wheel": "build_wheel", "editable": "build_editable", "sdist": "build_sdist"}[target]
    program = f"import sys; from hatchling.build import {hook} as build; print(build(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(out)]
    found = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return out / found.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def imported(*path: Path, cwd: Path) -> dict[str, object]:
    """Import what is in some folders, in a process of its own, and return what it is."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-P", "-c", IMPORTED]
    found = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return dict(json.loads(found.stdout))


def test_the_wheel_has_all_that_is_ours_and_nothing_else(wheel: Path) -> None:
    found = names(wheel)
    assert {name.split("/")[0].split("-")[0] for name in found} == {"conf", "jobs", "schemas", "transforms", "winnow"}
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "conf", "jobs", "schemas", "transforms"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in found if ".dist-info/" not in name and not name.startswith(PAGES)} == {
        name.removeprefix("jobs/python_api/") for name in tracked if not name.startswith("jobs/web/ui/")
    }
    assert {f"{package}/py.typed" for package in ("conf", "jobs", "schemas", "transforms", "winnow")} <= found
    assert {"winnow/__init__.py", "conf/profiles/quality.yaml"} <= found
    assert any(name.startswith("jobs/analysis/templates/") for name in found)


def test_the_wheel_has_the_pages_as_browsers_ask_for_them(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        pages = {name.removeprefix(PAGES): archive.read(name) for name in archive.namelist() if name.startswith(PAGES)}
    index = pages["index.html"].decode()
    asked = re.findall(r'(?:src|href)="/([^"]+)"', index)
    assert [name for name in asked if name.endswith(".js")]
    assert set(asked) <= set(pages)
    for name, data in pages.items():
        if name.endswith(".js"):
            assert gzip.decompress(pages[f"{name}.gz"]) == data
            assert re.fullmatch(r"assets/[\w.-]+-[\w-]{8}\.js", name), "what never changes has its hash in its name"
        assert not name.endswith((".map", ".ts", ".svelte"))
        assert str(ROOT).encode() not in data
    script = b"".join(data for name, data in pages.items() if name.endswith((".js", ".css", ".html")))
    assert not re.search(rb"registry\.|sourceMappingURL", script)
    sizes = json.loads(pages["build.json"])
    first = [name for name in asked if name.endswith(".js")]
    assert sum(len(pages[f"{name}.gz"]) for name in first) <= sizes["first"] <= 60 * 1024
    assert sizes["all"] <= 350 * 1024


def test_an_unpacked_wheel_is_imported_from_its_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    found = imported(site, cwd=tmp_path)
    packages = ("winnow", "conf", "jobs", "schemas", "transforms")
    assert found["files"] == [str(site / package / "__init__.py") for package in packages]
    assert (found["profile"], found["template"]) == ("annotate", True)
    assert f"-{found['version']}-" in wheel.name
    here = imported(ROOT / "jobs/python_api", ROOT, cwd=tmp_path)
    assert here["identity"] == found["identity"], "a cluster that has the wheel is sent that of the checkout"


def test_the_command_starts_in_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert archive.read(name).decode().split() == ["[console_scripts]", "winnow", "=", "winnow.__main__:main"]


def test_the_package_sent_to_a_cluster_has_the_files_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    sent = names(write_wheel(tmp_path))
    expected = {n for n in names(wheel) if not n.startswith(PAGES)}
    assert {n for n in sent if ".dist-info/" not in n} == {n for n in expected if ".dist-info/" not in n}


def test_a_source_distribution_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = build("wheel", source, tmp_path)
    with ZipFile(wheel) as one, ZipFile(again) as other:
        assert {i.filename: i.CRC for i in one.infolist()} == {i.filename: i.CRC for i in other.infolist()}


def test_an_editable_installation_imports_the_checkout(tmp_path: Path) -> None:
    source = tmp_path / "checkout"
    for name in ("conf", "jobs", "schemas", "transforms"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "static")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    with ZipFile(build("editable", source, tmp_path)) as archive:
        (listed,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".pth"))
    folders = [Path(line) for line in dict.fromkeys(listed.split())]
    assert sorted(folders) == [source, source / "jobs/python_api"]
    assert not (source / PAGES).exists(), "an editable installation builds no pages"
    found = imported(*folders, cwd=tmp_path)
    assert found["files"] == [
        str(source / place / "__init__.py")
        for place in ("jobs/python_api/winnow", "conf", "jobs", "schemas", "transforms")
    ]
