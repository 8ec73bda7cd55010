"""The program as scripts see it: exit codes, one line per problem, JSON on the last line."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from jobs.cli.app import main
from jobs.engine.ray_engine import Engine
from jobs.storage.workspace import Workspace
from tests.helpers import SMALL, write_noise_stream

N = SMALL.planted.n_files
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Winnow = Callable[..., Result]


@pytest.fixture
def winnow(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Winnow:
    """Call the program in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["winnow", *(str(a) for a in arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, engine: Engine) -> Path:
    """A workspace in which the sample was run."""
    from tests.helpers import go

    place = tmp_path_factory.mktemp("commands") / "tables"
    go(Workspace.at(place), sample_folder)
    return place


def errors(result: Result) -> list[str]:
    assert result.out == ""
    assert "Traceback" not in result.err
    lines = result.err.splitlines()
    assert all(line.startswith("error: ") for line in lines), result.err
    return [line.removeprefix("error: ") for line in lines]


def test_run_prints_one_object_on_its_last_line(winnow: Winnow, sample_folder: Path, engine: Engine) -> None:
    result = winnow("run", "--input", sample_folder, "--json")
    assert result.code == 0
    assert len(result.out.splitlines()) == 1
    assert (result.json["state"], result.json["frames"]) == ("done", N)
    assert result.err == ""
    again = winnow("run", "--input", sample_folder, "--json")
    assert all(stage["computed"] == 0 for stage in again.json["stages"].values())
    assert Path(".winnow/winnow.json").exists()


def test_run_sums_up_for_people(winnow: Winnow, sample_folder: Path, done: Path) -> None:
    result = winnow("run", "--input", sample_folder, "-w", done)
    assert result.code == 0
    assert "nothing to read: every frame was measured before" in result.out
    assert f"of {N} frames; dropped, some for several reasons: 2 corrupt" in result.out
    assert "5 numbers missing in 1 gap\n" in result.out
    assert "\x1b" not in result.out + result.err


def test_strict_exits_with_3_for_bad_frames_and_the_run_is_done(
    winnow: Winnow, sample_folder: Path, done: Path, tmp_path: Path, engine: Engine
) -> None:
    assert winnow("run", "--input", sample_folder, "-w", done, "--strict").code == 3
    clean = write_noise_stream(tmp_path / "clean", range(3))
    assert winnow("run", "--input", clean, "-w", tmp_path / "w", "--strict").code == 0


def test_dry_run_says_what_and_why_and_writes_nothing(
    winnow: Winnow, sample_folder: Path, tmp_path: Path, done: Path
) -> None:
    result = winnow("run", "--input", sample_folder, "-w", tmp_path / "w", "--dry-run", "--json")
    assert result.json["stages"]["quality"] == {
        "stage": "quality",
        "frames": N,
        "compute": N,
        "verify": 0,
        "remove": 0,
        "reasons": {"new": N},
        "rule": None,
        "chosen": None,
        "of": None,
        "depends_on": [],
    }
    assert not (tmp_path / "w").exists()
    people = winnow("run", "--input", sample_folder, "-w", done, "--dry-run", "--set", "blur.method=tenengrad")
    assert f"{N} params changed: blur.method" in people.out
    assert "Nothing to do" in winnow("run", "--input", sample_folder, "-w", done, "--dry-run").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--input", "nowhere"], ["input nowhere does not exist"]),
        (["run", "--input", "empty"], ["the folder is empty"]),
        (["run", "--input", "file.txt"], ["input file.txt is a file; expected a folder"]),
        (["run", "--input", "gs://bucket/x"], ["expected a folder, or s3://BUCKET/PREFIX"]),
        (["run", "--input", "cam", "--profile", "qualty"], ["did you mean 'quality'?"]),
        (["run", "--input", "cam", "--set", "duplicates.haming=1"], ["did you mean 'duplicates.hamming'?"]),
        (["run", "--input", "cam", "--set", "idle.keep=many"], ["idle.keep: input should be a valid integer"]),
        (["run", "--input", "cam", "--config", "none.yaml"], ["config file none.yaml does not exist"]),
        (["run", "--input", "cam", "-w", "file.txt"], ["is a file, expected a folder"]),
        (["run", "--input", "cam", "-w", "cam"], ["is a folder with other things in it"]),
        (["run", "--input", "cam", "-w", "newer"], ["has format 99", "upgrade winnow"]),
        (["run", "--input", "cam", "--input", "other/cam"], ["stream id 'cam' refers to both"]),
        (
            ["run", "--input", "cam", "--profile", "x", "--set", "a=1", "--set", "b", "-w", "file.txt"],
            ["unknown profile", "expected KEY=VALUE", "unknown key 'a'", "is a file"],
        ),
        (["sql", "SELECT 1"], ["there is no workspace at", "winnow run --input FOLDER"]),
        (["sql", "DROP TABLE frames", "-w", "made"], ["only SELECT is allowed"]),
        (["sql", "SELECT 1", "-w", "made", "--out", "no/x.csv"], ["no/x.csv cannot be written: there is no folder no"]),
        (["inspect", "job", "--id", "zzz", "-w", "made"], ["there is no run 'zzz'"]),
        (["inspect", "stream", "--path", "cam", "-w", "made"], ["no stream cam in this workspace"]),
        (["inspect", "stream", "-w", "made"], ["expected either --path DIR or --id ID"]),
        (["release", "show", "v9", "-w", "made"], ["there is no release 'v9'"]),
        (["release", "create", "v9", "-w", "made"], ["nothing to release yet"]),
        (
            ["export", "--format", "coco", "--out", "x", "--split", "train=2", "-w", "made"],
            ["expected names and fractions"],
        ),
        (
            ["export", "--format", "coco", "--out", "x", "--split", "a=0.5,b=0.4", "-w", "made"],
            ["add up to 0.9, expected 1"],
        ),
    ],
)
def test_wrong_use_is_reported_in_lines_and_exits_with_2(
    winnow: Winnow, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    write_noise_stream(tmp_path / "cam", range(2))
    write_noise_stream(tmp_path / "other/cam", range(2))
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer/winnow.json").write_text('{"format": 99, "created_by": "winnow 9.0"}')
    from jobs.storage.store import Store

    Store(Workspace.at(tmp_path / "made").create().root).create_tables()
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    result = winnow(*arguments)
    assert result.code == 2
    text = "\n".join(errors(result))
    assert [part for part in expected if part not in text] == []
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "--no-such-option"], ["sql"], ["nonsense"], ["export", "--format", "bmp", "--out", "x"]],
)
def test_usage_errors_of_the_command_line_exit_with_2(winnow: Winnow, arguments: list[str]) -> None:
    result = winnow(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


def run_without_override(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program so that permissions hold for it even if we are root."""

    def drop() -> None:
        libc = ctypes.CDLL(None)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    command = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=drop)


@pytest.mark.process
def test_folders_without_permission(tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(2))
    closed = write_noise_stream(tmp_path / "closed", range(2))
    closed.chmod(0o000)
    frozen = tmp_path / "frozen"
    frozen.mkdir(mode=0o555)
    try:
        found = run_without_override("run", "--input", str(closed), "-w", str(tmp_path / "w"))
        assert (found.returncode, found.stderr) == (2, f"error: input {closed} cannot be read: permission denied\n")
        found = run_without_override("run", "--input", str(cam), "-w", str(frozen / "tables"))
        assert found.returncode == 2
        assert found.stderr == f"error: workspace {frozen / 'tables'} cannot be written: Permission denied\n"
    finally:
        closed.chmod(0o755)


def test_sql_formats(winnow: Winnow, done: Path) -> None:
    query = "SELECT frame_idx, keep, reasons FROM curation WHERE frame_idx < 3 ORDER BY frame_idx"
    rows = [{"frame_idx": i, "keep": True, "reasons": []} for i in range(3)]
    assert json.loads(winnow("sql", query, "-w", done, "--format", "json").out) == rows
    lines = winnow("sql", query, "-w", done, "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = winnow("sql", query, "-w", done).out.splitlines()
    assert table[0].split() == ["frame_idx", "keep", "reasons"]
    assert table[1].split() == ["0", "yes", "[]"]
    found = list(csv.DictReader(io.StringIO(winnow("sql", query, "-w", done, "--format", "csv").out)))
    assert found[0] == {"frame_idx": "0", "keep": "true", "reasons": "[]"}
    assert winnow("sql", query, "-w", done, "--format", "parquet", "--out", "x.parquet").code == 0
    assert pl.read_parquet("x.parquet").to_dicts() == rows
    assert json.loads(winnow("sql", "SELECT 1 AS x WHERE false", "-w", done, "--format", "json").out) == []


def test_inspect_for_people_and_programs(winnow: Winnow, done: Path, sample_folder: Path) -> None:
    (run, *_) = winnow("inspect", "runs", "-w", done, "--json").json
    assert {"job_id", "state", "parent", "profile"} <= set(run)
    job = winnow("inspect", "job", "--id", run["job_id"], "-w", done, "--json").json
    assert (job["state"], job["stages"]["quality"]["computed"]) == ("done", N)
    assert job["config"]["duplicates"]["hamming"] == 10
    stream = winnow("inspect", "stream", "--path", sample_folder, "-w", done, "--json").json
    assert stream["gaps"] == [{"start": a, "end": b} for a, b in SMALL.planted.gaps]
    assert [(i["start_idx"], i["end_idx"]) for i in stream["idle"]] == SMALL.planted.idle
    tables = {t["table"]: t for t in winnow("inspect", "tables", "-w", done, "--json").json}
    assert tables["frames"]["rows"] == N
    assert winnow("inspect", "quarantine", "-w", done, "--json").json == []
    for command in (["runs"], ["job", "--id", run["job_id"]], ["quarantine"]):
        assert winnow("inspect", *command, "-w", done).code == 0
    answer = winnow("inspect", "stream", "--id", "cam", "-w", done).out
    (low, high), *_ = SMALL.planted.gaps
    assert re.search(rf"^numbers missing +{stream['n_missing']} in {low} to {high}\b", answer, re.MULTILINE)
    assert re.search(r"^listed +\d{4}-\d\d-\d\d \d\d:\d\d UTC$", answer, re.MULTILINE)
    assert "\nwithout rows: media, " in winnow("inspect", "tables", "-w", done).out


def test_releases_exports_and_reports(winnow: Winnow, done: Path, tmp_path: Path) -> None:
    assert winnow("release", "create", "v1", "-w", done, "--note", "first").code == 0
    assert winnow("release", "create", "v2", "-w", done, "--json").json["name"] == "v2"
    assert [r["name"] for r in winnow("release", "list", "-w", done, "--json").json] == ["v1", "v2"]
    shown = winnow("release", "show", "v1", "-w", done, "--json").json
    assert (shown["frames"], shown["note"]) == (N, "first")
    assert winnow("release", "diff", "v1", "v2", "-w", done, "--json").json["added"] == 0
    for command in (["list"], ["show", "v1"], ["diff", "v1", "v2"]):
        assert winnow("release", *command, "-w", done).code == 0
    made = winnow(
        "export", "--format", "coco", "--out", "out", "--release", "v1", "-w", done, "--split", "a=0.5,b=0.5", "--json"
    )
    assert sum([*made.json["frames"].values(), *made.json["split_report"]["left_out"].values()]) == shown["kept"]
    assert "frames that leak" in winnow("release", "show", "v1", "-w", done).out
    people = winnow("export", "--format", "jsonl", "--out", "lines", "-w", done)
    line, _, below = people.out.partition("\n")
    assert line == f"{shown['kept']} frames ({shown['kept']} default) to lines"
    assert "try next:" in below
    assert winnow("report", "--out", "report.html", "-w", done).code == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_tables_optimize_and_vacuum(winnow: Winnow, done: Path) -> None:
    changes = {c["table"]: c for c in winnow("tables", "optimize", "-w", done, "--json").json}
    assert changes["runs"]["files_after"] == 1
    assert winnow("tables", "optimize", "-w", done).out.startswith("nothing to merge")
    assert winnow("tables", "vacuum", "-w", done, "--dry-run").out.startswith("nothing to delete")
    assert {c["table"] for c in winnow("tables", "vacuum", "-w", done, "--json").json} == set(changes)


def test_the_workspace_can_be_named_by_the_environment(
    winnow: Winnow, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(done))
    assert json.loads(winnow("sql", "SELECT count(*) AS n FROM frames", "--format", "json").out) == [{"n": N}]


def test_output_into_a_closed_pipe_is_no_error(done: Path) -> None:
    command = f"{sys.executable} -m jobs.cli sql -w {done} --format jsonl 'SELECT * FROM curated' | head -1"
    found = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, env=os.environ | {"PIPE": "1"}
    )
    assert "Traceback" not in found.stderr
    assert json.loads(found.stdout)["frame_idx"] >= 0


def test_a_failure_is_an_object_for_programs_and_lines_for_people(winnow: Winnow, tmp_path: Path) -> None:
    for words in (
        ("run", "--input", tmp_path / "nowhere", "--set", "duplicates.haming=3"),
        ("inspect", "job", "--id", "nosuch"),
        ("release", "show", "nosuch"),
        ("job", "pause", "nosuch"),
        ("models", "list", "--nosuch"),
        ("submit",),
        ("nosuch",),
    ):
        plain, answer = winnow(*words), winnow(*words, "--json")
        assert plain.out == "", words
        assert answer.code == plain.code != 0, words
        said = answer.json
        assert len(answer.out.splitlines()) == 1
        lines = "".join(f"error: {line}\n" for line in said["error"])
        assert (said["exit_code"], answer.err) == (answer.code, lines), words
    both = winnow("run", "--input", tmp_path, "--set", "duplicates.haming=3", "--set", "motion.percentle=3", "--json")
    assert len(both.json["error"]) == 2
    assert winnow("run", "--help", "--json").code == 0


def test_a_large_result_is_shown_in_part_and_written_whole(winnow: Winnow, tmp_path: Path) -> None:
    query = "SELECT range AS n FROM range(100_000)"
    Workspace.at(tmp_path / ".winnow").create()
    shown = winnow("sql", query).out.splitlines()
    assert (len(shown), shown[0].strip(), shown[1].strip()) == (1002, "n", "0")
    assert shown[-1].startswith("the first 1,000 of 100,000 rows; ")
    for kind in ("csv", "jsonl", "parquet"):
        file = tmp_path / f"out.{kind}"
        assert winnow("sql", query, "--out", file).code == 0
        assert _read(file, kind)["n"].to_list() == list(range(100_000))
    # What fails on the way leaves what was there.
    failed = winnow(
        "sql", "SELECT CAST(CASE WHEN range < 99999 THEN '1' ELSE 'x' END AS INT) FROM range(100_000)", "--out", file
    )
    assert (failed.code, pl.read_parquet(file).height) == (2, 100_000)
    assert {p.name for p in tmp_path.iterdir()} == {".winnow", "out.csv", "out.jsonl", "out.parquet"}


def _read(file: Path, kind: str) -> pl.DataFrame:
    if kind == "csv":
        return pl.read_csv(file)
    return pl.read_ndjson(file) if kind == "jsonl" else pl.read_parquet(file)


def test_closed_standard_streams_are_no_error(done: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m jobs.cli sql 'SELECT 1 AS one' --workspace {done}"
    for closed, out in ((">&-", []), ("<&- 2>&-", ["one", "1"])):
        answer = subprocess.run(
            ["sh", "-c", f"{command} {closed}"], check=False, capture_output=True, text=True, cwd=tmp_path
        )
        assert (answer.returncode, answer.stdout.split(), answer.stderr) == (0, out, "")


def test_usage_errors_are_plain_lines(winnow: Winnow) -> None:
    assert errors(winnow("run", "--foo"))[0].startswith("No such option: --foo; see ")
    assert winnow("--version").code == 0


@pytest.mark.process
def test_a_frame_that_cannot_be_read_is_not_counted_with_those_that_miss_it(winnow: Winnow, tmp_path: Path) -> None:
    cam = write_noise_stream(tmp_path / "cam", range(4))
    (cam / "image_2.jpg").rename(cam / "old.txt")
    (cam / "image_2.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = winnow("run", "--input", cam)
    assert "1 frame could not be read, motion is missing for 2; the next run tries again" in found.out
