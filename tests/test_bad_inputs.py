"""Two thousand bad inputs: each is taken, or refused with exit code 1 or 2 and short lines; nothing else happens."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
import typer.main

from jobs.cli.app import main
from jobs.engine.ray_engine import Engine
from tests import bad_inputs, bad_review_files
from tests.helpers import winnow
from tests.jobs.review.material import annotated

pytest.importorskip("onnxruntime", reason="the extra `annotate` is not installed")

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("WINNOW_BAD_INPUTS_SEED", "17"))
COUNTS = {
    "config": 400,
    "set": 300,
    "when": 120,
    "sql": 320,
    "where": 100,
    "cron": 200,
    "name": 130,
    "url": 80,
    "labelstudio": 140,
    "cvat": 140,
    "coco": 140,
}
assert sum(COUNTS.values()) >= 2000
_LONGEST_LINE = 1100
_MOST_LINES = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    """A workspace with objects, their files for three tools, and an empty folder to work in."""
    root = tmp_path_factory.mktemp("bad")
    annotated(root)
    for tool in ("labelstudio", "cvat", "coco"):
        asked = ("-f", tool, "-o", root / tool, "--where", "true", "--media", "none", "--again")
        assert winnow("review", "export", "-w", root / "tables", *asked).exception is None
    (root / "here").mkdir()
    (root / "home").mkdir()
    return root


@pytest.fixture
def inside(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The place; afterwards nothing may be in its folders that was not there before."""
    monkeypatch.chdir(place / "here")
    # Hashes of code and weights may be kept by any command.
    kept = {"XDG_CACHE_HOME": tmp_path / "cache", "WINNOW_WEIGHTS": tmp_path / "weights"}
    for name, value in {"HOME": place / "home", **kept}.items():
        monkeypatch.setenv(name, str(value))
    before = _tree(place)
    yield place
    assert _tree(place) == before


def _tree(place: Path) -> list[Path]:
    # Locks and caches of the tables are the workspace's own.
    return sorted(p for p in place.rglob("*") if "tables" not in p.relative_to(place).parts)


def call(*words: object) -> tuple[int, str]:
    """Run the program as `winnow` runs it, and return its exit code and what it wrote to standard error."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, "utf-8")
    made_once = _commands()
    with (
        mock.patch.object(sys, "argv", ["winnow", *map(str, words)]),
        mock.patch("typer.main.get_command", made_once),
        mock.patch("jobs.core.memory.share_one_allocator"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out.flush()
    # What the doctor finds is its output.
    return code, err.getvalue() or (raw.getvalue().decode()[-_LONGEST_LINE:] if code else "")


@cache
def _commands() -> Callable[..., object]:
    return cache(typer.main.get_command)


_OF_PYTHON = ("invalid literal for", "could not convert")
"""What Python says of a text that is no number, which says neither what was expected nor where."""


def assert_sound(*words: object) -> None:
    """Assert that the program takes an input or refuses it well."""
    try:
        code, said = call(*words)
    except BaseException as error:
        raise AssertionError(f"a traceback for {[str(w)[:300] for w in words]}: {type(error).__name__}") from error
    lines = said.splitlines()
    wrong = code not in {0, 1, 2} or "Traceback" in said or len(lines) > _MOST_LINES
    wrong = wrong or any(text in said for text in _OF_PYTHON)
    wrong = wrong or (code != 0 and not lines) or any(len(line) > _LONGEST_LINE for line in lines)
    assert not wrong, f"{[str(w)[:300] for w in words]} gave {code} and {len(lines)} lines: {said[:2000]!r}"


def every(kind: str) -> Iterator[random.Random]:
    for at in range(COUNTS[kind]):
        yield random.Random(f"{SEED} {kind} {at}")


def is_printable(*words: str) -> bool:
    """Say whether texts can be words of a command line."""
    return all("\x00" not in word and not any("\ud800" <= c <= "\udfff" for c in word) for word in words)


def test_configurations(inside: Path, tmp_path: Path) -> None:
    for rng in every("config"):
        file = tmp_path / "config.yaml"
        file.write_bytes(bad_inputs.config_text(rng).encode("utf-8", "surrogatepass"))
        assert_sound("profiles", "check", file)


def test_settings(inside: Path) -> None:
    for rng in every("set"):
        if is_printable(text := bad_inputs.setting(rng)):
            assert_sound("profiles", "show", "quality", "--set", text)


def test_rules(inside: Path) -> None:
    for rng in every("when"):
        if is_printable(text := bad_inputs.rule(rng)):
            assert_sound("profiles", "show", "annotate", "--set", f"when.annotate={text}")


def test_queries(inside: Path) -> None:
    for rng in every("sql"):
        if is_printable(text := bad_inputs.query(rng)):
            assert_sound(
                "sql", "-w", inside / "tables", text, "--format", rng.choice(("table", "json", "csv", "parquet"))
            )


def test_conditions(inside: Path, tmp_path: Path) -> None:
    for at, rng in enumerate(every("where")):
        if not is_printable(text := bad_inputs.rule(rng)):
            continue
        out = tmp_path / f"out-{at}"
        commands: list[tuple[object, ...]] = [
            ("export", "-f", "jsonl", "-o", out),
            ("review", "export", "-f", "coco", "--media", "none", "-o", out),
            ("select", "--name", "s", "--strategy", "uniform", "--n", "1", "--dry-run"),
        ]
        assert_sound(*rng.choice(commands), "-w", inside / "tables", "--where", text)


def test_schedules(inside: Path, tmp_path: Path) -> None:
    for rng in every("cron"):
        words = {"--cron": bad_inputs.cron(rng), "--tz": bad_inputs.zone(rng)}
        named = bad_inputs.name(rng) if rng.random() < 0.5 else f"n{rng.randrange(10**6)}"
        if is_printable(named, *words.values()):
            options = [f"{name}={value}" for name, value in words.items()]
            assert_sound("schedule", "add", *options, "-w", tmp_path / "tables", "-i", inside / "data", "--", named)


def test_names(inside: Path, tmp_path: Path) -> None:
    tables, data = inside / "tables", inside / "data/yard/gate"
    file = inside / "coco/annotations.json"
    for at, rng in enumerate(every("name")):
        if not is_printable(name := bad_inputs.name(rng)):
            continue
        out = tmp_path / f"out-{at}"
        words: list[tuple[object, ...]] = [
            ("run", "--dry-run", "-w", tmp_path / "new", "-i", data, f"--stream-id={name}"),
            ("review", "import", "-w", tables, "--dry-run", "--reviewed=all", f"--category={name}", file),
            ("review", "export", "-w", tables, "-f", "cvat", "-o", out, "--media=none", f"--category={name}"),
            ("export", "-w", tables, "-f", "coco", "-o", out, "--media=none", f"--classes={name}"),
            ("export", "-w", tables, "-f", "coco", "-o", out, "--media=none", f"--map=red={name}"),
            ("export", "-w", tables, "-f", "jsonl", "-o", out, f"--split={name}=1"),
            ("release", "show", "-w", tables, "--", name),
            ("inspect", "job", "-w", tables, f"--id={name}"),
            ("export", "-w", tables, "-f", "jsonl", "-o", out, f"--selection={name}"),
            ("export", "-w", tables, "-f", "jsonl", "-o", out, f"--release={name}"),
        ]
        assert_sound(*rng.choice(words))


def test_addresses(inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is no address may be the name of a new file.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("WINNOW_S3_RETRIES", "0")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    for rng in every("url"):
        if not is_printable(url := bad_inputs.address(rng)):
            continue
        data = inside / "data/yard/gate"
        escalate = ("--profile=vlm-review", "--set=escalate.api=openai", f"--set=escalate.url={url}")
        words: list[tuple[object, ...]] = [
            ("models", "pull", "yolox-nano", f"--from={url}"),
            ("run", "--dry-run", "-w", tmp_path / "new", "-i", data, *escalate),
            ("doctor", "--quick", f"-w={url}"),
            ("run", "--dry-run", "-w", tmp_path / "new", f"-i={url}"),
            ("sql", "-w", inside / "tables", "SELECT 1", "--format=csv", f"--out={url}"),
            ("export", "-w", inside / "tables", "-f=jsonl", f"--out={url}"),
        ]
        assert_sound(*rng.choice(words))


@pytest.mark.parametrize("tool", ["labelstudio", "cvat", "coco"])
def test_review_files(inside: Path, tmp_path: Path, tool: str) -> None:
    made = {"labelstudio": "tasks.json", "cvat": "annotations.xml", "coco": "annotations.json"}
    sound = (inside / tool / made[tool]).read_bytes()
    damage = bad_review_files.damaged_xml if tool == "cvat" else bad_review_files.damaged_json
    file = tmp_path / made[tool]
    for rng in every(tool):
        file.write_bytes(damage(rng, sound))
        assert_sound("review", "import", "-w", inside / "tables", "--dry-run", "--reviewed=all", file)
