"""Paths and names in ARCHITECTURE.md and CONTRIBUTING.md are those of the code."""

from __future__ import annotations

import ast
import re

import pytest

from tests.reference import ROOT

# Rooms that the design has and the code has not yet.
_TO_COME = {"jobs/web/"}
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md")


def spoken(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", (ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    paths = [p for p in spoken(page) if re.fullmatch(r"(schemas|transforms|conf|jobs|tests|docs|notebooks)/[\w./]*", p)]
    assert len(paths) >= 3
    assert [p for p in paths if not (ROOT / p).exists() and p not in _TO_COME] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_name_in_architecture_is_defined_in_its_file(page: str) -> None:
    named = [m.groups() for p in spoken(page) if (m := re.fullmatch(r"([\w/]+\.py):(\w+)", p))]
    for path, name in named:
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        assert name in {getattr(node, "name", None) for node in body}, f"{page}: {path} has no {name}"
    assert named or page != "ARCHITECTURE.md"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert target.startswith("http") or (ROOT / target).exists(), f"{page}: {target}"


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {m[1] for page in PAGES for p in spoken(page) if (m := re.fullmatch(r"make ([a-z-]+)", p))}
    assert {n for n in named if not re.search(rf"^{n}:", makefile, re.MULTILINE)} == set()


def test_every_folder_is_in_the_architecture_document() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [f"{top}/{d.name}/" for top in ("jobs", "transforms") for d in (ROOT / top).iterdir() if d.is_dir()]
    assert [room for room in rooms if "__pycache__" not in room and f"`{room}`" not in text] == []


def test_the_architecture_document_is_short() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= 200
