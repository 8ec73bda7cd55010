from __future__ import annotations

import json
import os
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from typer.testing import CliRunner

import schemas
from conf import Resources, load
from jobs.cli.program import program
from jobs.core import requirements
from jobs.core.errors import BrokenTableError
from jobs.diagnostics import doctor, engine_checks
from jobs.diagnostics.doctor import examine
from jobs.diagnostics.finding import Finding
from jobs.diagnostics.losses import accept_loss
from jobs.engine.ray_engine import Engine
from jobs.models.weights_store import pull
from jobs.storage.paths import place
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from jobs.views.view import View
from tests.helpers import computed, go, rows
from tests.onnx_graphs import write_end_to_end
from tests.reference import ROOT


def of(findings: list[Finding], subject: str) -> Finding:
    (found,) = [f for f in findings if f.subject == subject]
    return found


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Have a package be as one that is not installed."""

    def version_of(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor, "version", version_of)


def broken(findings: list[Finding]) -> list[str]:
    return [f.subject for f in findings if f.level == "broken"]


def test_doctor_finds_no_problem_in_an_intact_workspace(healthy: Path) -> None:
    findings = examine(str(healthy), verify=True)
    assert broken(findings) == []
    assert of(findings, "files").level == of(findings, "hashes").level == of(findings, "tables").level == "ok"
    assert "are what was written" in of(findings, "hashes").found


def test_a_changed_file_is_found_by_its_hash_alone(tables: Path) -> None:
    file = tables / "quality" / Store(place(tables)).open(schemas.QUALITY).files[0].path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    assert broken(examine(str(tables))) == []
    findings = examine(str(tables), verify=True)
    assert broken(findings) == ["hashes"]
    assert f"quality/{file.relative_to(tables / 'quality')}" in of(findings, "hashes").found


def test_files_that_only_a_release_refers_to_are_missed(tables: Path) -> None:
    store = Store(place(tables))
    (manifest,) = store.read(schemas.RELEASES)["manifest"].to_pylist()
    then = {f.path for f in Store(place(tables), json.loads(manifest)["tables"]).open(schemas.QUALITY).files}
    now = {f.path for f in store.open(schemas.QUALITY).files}
    (only_then,) = then - now
    (tables / "quality" / only_then).unlink()
    findings = examine(str(tables))
    assert broken(findings) == ["files"]
    assert only_then in of(findings, "files").found


def test_doctor_notes_unreferenced_files(tables: Path) -> None:
    orphan = tables / "quality" / "left-behind.parquet"
    orphan.write_bytes(b"cut short")
    os.utime(orphan, (0, 0))
    found = of(examine(str(tables)), "unreferenced files")
    assert (found.level, found.fix) == ("note", "winnow tables vacuum")
    assert found.found.startswith("1 ")
    assert orphan.exists()


def test_a_missing_extra_is_a_note_and_names_its_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "onnxruntime")
    found = of(examine(str(tmp_path / "none")), "extra annotate")
    assert (found.level, found.fix) == ("note", "pip install 'winnow[annotate]'")
    assert "onnxruntime" in found.found


def test_every_extra_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    without(monkeypatch, "google-genai")
    findings = examine(str(tmp_path / "none"))
    assert {f.subject for f in findings if f.subject.startswith("extra ")} == {f"extra {name}" for name in extras}
    assert of(findings, "extra vlm").found == "without google-genai"


def test_a_package_that_every_installation_requires_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "duckdb")
    found = [f for f in examine(str(tmp_path / "none")) if f.subject == "packages"]
    assert [(f.level, f.found) for f in found[:-1]] == [("broken", "duckdb is not installed")]
    assert all(f"{name} " in found[-1].found for name in ("winnow", "ray", "pyarrow", "polars", "deltalake", "numpy"))


def test_a_checkout_without_metadata_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nothing(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(requirements, "requires", nothing)
    found = [f for f in examine(str(tmp_path / "none")) if f.subject == "packages"]
    assert [f.level for f in found] == ["broken", "ok"]
    assert "its checkout was never installed" in found[0].found


def test_exit_codes_and_json(healthy: Path, tables: Path) -> None:
    run = CliRunner()
    sound = run.invoke(program(), ["doctor", "--quick", "--workspace", str(healthy), "--json"])
    assert (sound.exit_code, json.loads(sound.stdout)["healthy"]) == (0, True)
    (tables / "frames" / Store(place(tables)).open(schemas.FRAMES).files[0].path).unlink()
    ill = run.invoke(program(), ["doctor", "--quick", "--workspace", str(tables)])
    assert ill.exit_code == 1
    assert "are missing" in ill.stdout
    file = tables.parent / "file"
    file.write_text("")
    assert run.invoke(program(), ["doctor", "--quick", "--workspace", str(file)]).exit_code == 1


def test_doctor_starts_an_engine_and_reports_why_it_cannot(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", engine_address())
    found = engine_checks.engine(Resources())
    assert (found.level, found.found[:4]) == ("ok", "Ray "), found
    assert "a worker answered" in found.found
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    silent = engine_checks.engine(Resources())
    assert (silent.level, silent.fix[:8]) == ("broken", "start it")
    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.setattr(engine_checks, "_ANSWER", "raise SystemExit('no room for objects')")
    assert engine_checks.engine(Resources()).found == "Ray does not start: no room for objects"
    monkeypatch.setattr(engine_checks, "_ANSWER", "import time; time.sleep(60)")
    assert engine_checks.engine(Resources(), patience_s=0.2).found == "Ray did not start within 0 s"


def test_shared_memory_is_compared_with_what_a_run_asks_for() -> None:
    (enough,) = engine_checks.shared_memory(Resources(object_store_mb=80))
    (short,) = engine_checks.shared_memory(Resources(object_store_mb=1 << 30))
    assert (enough.level, short.level) == ("ok", "broken")
    assert "resources.object_store_mb" in short.fix


@pytest.mark.usefixtures("unpinned")
def test_weights_are_compared_with_their_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    file = write_end_to_end(tmp_path / "tiny.onnx", "N", {0: "red"}, "MIT")
    pull("yolox-nano", str(file))
    settings = ["stages=[annotate]", "annotate.detector=onnx", "annotate.weights=yolox-nano"]
    (catalogue, stage) = engine_checks.weights(load(settings=settings), verify=True)
    assert (catalogue.level, catalogue.found[:2], stage.subject, stage.level) == ("ok", "1 ", "stage annotate", "ok")
    (tmp_path / "weights" / "yolox_nano.onnx").write_bytes(b"something else")
    found = list(engine_checks.weights(load(settings=settings), verify=True))
    assert [f.level for f in found] == ["broken", "ok", "broken"]
    assert found[0].fix.endswith("winnow models pull yolox-nano")
    assert found[2].subject == "profile quality"
    missing = list(engine_checks.weights(load(settings=[*settings[:2], "annotate.weights=nosuch"]), verify=False))
    assert missing[-1].level == "broken"
    assert missing[-1].fix


def engine_address() -> str:
    import ray

    return ray.get_runtime_context().gcs_address


def test_a_table_whose_log_is_damaged_is_named_with_its_fix(healthy: Path, tables: Path) -> None:
    workspace, cam = Workspace.at(tables), healthy.parent / "cam"
    before = rows(workspace, schemas.QUALITY)
    for entry in (tables / "quality/_delta_log").glob("*.json"):
        entry.write_text("garbage\n")
    findings = examine(str(tables))
    assert broken(findings) == ["tables"]
    found = of(findings, "tables")
    assert found.found.startswith("table quality cannot be read: ")
    assert "unknown" not in found.found
    assert "`winnow tables accept-loss quality` and run the streams again" in found.fix
    for ask in (lambda: View.of(workspace).sql("SELECT count(*) FROM quality"), lambda: go(workspace, cam)):
        with pytest.raises(BrokenTableError, match=r"^table quality cannot be read: .*/quality/_delta_log\)") as caught:
            ask()
        assert len(str(caught.value).splitlines()) == caught.value.exit_code == 1
    # What the line advises helps.
    assert "never written" in accept_loss(Store(place(tables)), schemas.QUALITY, "accept")
    assert next(tables.glob(".lost-quality-*/_delta_log/*.json")).read_text() == "garbage\n"
    assert computed(go(workspace, cam))["quality"] == before.height
    assert rows(workspace, schemas.QUALITY).equals(before)
    assert broken(examine(str(tables))) == []


def test_two_packages_that_bring_faiss_are_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    number = doctor._version
    assert not [f for f in examine(str(tmp_path / "none")) if f.level == "broken"]
    monkeypatch.setattr(doctor, "_version", lambda name: "1.14.1" if name == "faiss-gpu-cu12" else number(name))
    found = next(f for f in examine(str(tmp_path / "none")) if f.level == "broken")
    assert found.found.startswith("faiss-cpu and faiss-gpu-cu12 both bring the module faiss")
    assert found.fix is not None
    assert found.fix.startswith("pip uninstall faiss-cpu faiss-gpu-cu12; pip install 'winnow[gpu]'")
