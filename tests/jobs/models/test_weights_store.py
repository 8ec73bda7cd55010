from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from conf.model_catalogue import NOT_STATED, catalogue
from jobs.core.errors import RunFailedError, UserError
from jobs.models.locations import places_of
from jobs.models.weights_store import Licence, entries, licence_of, notice, of_file, pull, resolve
from tests import onnx_graphs

DATA = onnx_graphs.model([onnx_graphs.tensor("weights", np.arange(600_000))])
OTHER = onnx_graphs.model([onnx_graphs.tensor("weights", [1.0])])
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder that does not exist yet."""
    monkeypatch.setenv("WINNOW_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA[: len(DATA) // 2] if self.path == "/half" else DATA)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the catalogue name what the server has."""
    model = dataclasses.replace(catalogue()["yolox-nano"], sha256=SHA, size_bytes=len(DATA))
    monkeypatch.setitem(catalogue(), "yolox-nano", model)


@pytest.fixture
def server() -> Iterator[str]:
    """A server that answers well, with half of it, or not at all."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def state(name: str = "yolox-nano") -> str:
    return entries([name], verify=True)[0].state


@pytest.mark.usefixtures("unpinned")
def test_the_first_pull_records_and_later_ones_have_to_agree(server: str, place: Path, tmp_path: Path) -> None:
    assert state() == "missing"
    reported: list[int] = []
    entry = pull("yolox-nano", f"{server}/good", lambda done, total: reported.append(done))
    assert (entry.state, entry.sha256, state()) == ("present", SHA, "present")
    assert reported[-1] == len(DATA)
    assert resolve("yolox-nano").sha256 == SHA
    (place / "yolox_nano.onnx").write_bytes(b"altered")
    assert state() == "altered"
    with pytest.raises(UserError, match=r"is not what was pulled .*run: winnow models pull yolox-nano"):
        resolve("yolox-nano")
    other = tmp_path / "other.onnx"
    other.write_bytes(OTHER)
    with pytest.raises(RunFailedError, match="the first pull recorded"):
        pull("yolox-nano", str(other))
    assert (place / "yolox_nano.onnx").read_bytes() == b"altered"
    # The command that the message names fixes it.
    assert pull("yolox-nano", f"{server}/good").state == state() == "present"
    assert sorted(p.name for p in place.iterdir()) == ["weights.json", "yolox_nano.onnx"]


@pytest.mark.parametrize("names_it", ["unpinned", "pinned"])
def test_pulled_weights_are_verified_under_any_name(
    server: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    names_it: str,
) -> None:
    request.getfixturevalue(names_it)
    pull("yolox-nano", f"{server}/good")
    (tmp_path / "link.onnx").symlink_to(place / "yolox_nano.onnx")
    monkeypatch.chdir(tmp_path)
    names = ["yolox-nano", "yolox_nano.onnx", "weights/yolox_nano.onnx", "link.onnx", str(place / "yolox_nano.onnx")]
    assert {resolve(name).name for name in names} == {"yolox-nano"}
    (place / "yolox_nano.onnx").write_bytes(OTHER)
    for name in names:
        with pytest.raises(UserError) as caught:
            resolve(name)
        # Just what brought it the first time.
        assert caught.value.problems[0].endswith(f"run: winnow models pull yolox-nano --from {server}/good")
    # What nobody pulled is a file of one's own, under any name.
    (place / "yolox_s.onnx").write_bytes(DATA[:-1] + b"x")
    assert resolve("yolox_s.onnx").name == "yolox_s"


@pytest.mark.usefixtures("unpinned")
def test_existing_weights_are_replaced_only_with_force(server: str, place: Path, tmp_path: Path) -> None:
    first = pull("yolox-nano", f"{server}/good")
    assert (first.pinned, first.size_bytes, entries(["yolox-tiny"])[0].pinned) == ("first pull", len(DATA), None)
    other = tmp_path / "other.onnx"
    other.write_bytes(OTHER)
    assert pull("yolox-nano").sha256 == SHA
    with pytest.raises(RunFailedError, match=r"the first pull recorded .*; nothing was kept; .*--force"):
        pull("yolox-nano", str(other))
    assert (state(), resolve("yolox-nano").sha256) == ("present", SHA)
    assert pull("yolox-nano", str(other), force=True).sha256 != SHA
    assert (place / "yolox_nano.onnx").read_bytes() == other.read_bytes()
    assert (state(), entries(["yolox-nano"])[0].size_bytes) == ("present", other.stat().st_size)


@pytest.mark.usefixtures("pinned")
def test_weights_pinned_by_the_catalogue_are_never_replaced(server: str, place: Path, tmp_path: Path) -> None:
    assert (entries(["yolox-nano"])[0].pinned, entries(["yolox-nano"])[0].size_bytes) == ("catalogue", len(DATA))
    same_size = tmp_path / "same.onnx"
    same_size.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    other = tmp_path / "other.onnx"
    other.write_bytes(OTHER)
    refused = (
        (other, f"has {len(OTHER):,} bytes, but the catalogue names {len(DATA):,}, of revision 0.1.1rc0; nothing was"),
        (same_size, f"has SHA-256 [0-9a-f]{{64}}, but the catalogue names {SHA}, of revision 0.1.1rc0; nothing was"),
    )
    for file, said in refused:
        for force in (False, True):
            with pytest.raises(RunFailedError, match=said) as caught:
                pull("yolox-nano", str(file), force=force)
            assert "--force" not in str(caught.value)
    assert list(place.iterdir()) == []
    found = pull("yolox-nano", f"{server}/good")
    assert (found.pinned, found.sha256, found.state, state()) == ("catalogue", SHA, "present", "present")
    for file, said in refused:
        with pytest.raises(RunFailedError, match=said):
            pull("yolox-nano", str(file), force=True)
        assert resolve("yolox-nano").sha256 == SHA
        (place / "yolox_nano.onnx").write_bytes(file.read_bytes())
        with pytest.raises(UserError, match=r"is not what the catalogue names .*run: winnow models pull yolox-nano"):
            resolve("yolox-nano")
        assert pull("yolox-nano", f"{server}/good").state == state() == "present"


@pytest.mark.usefixtures("pinned")
def test_the_hash_of_the_catalogue_overrides_an_earlier_record(server: str, place: Path) -> None:
    place.mkdir()
    (place / "yolox_nano.onnx").write_bytes(OTHER)
    recorded = {"sha256": hashlib.sha256(OTHER).hexdigest(), "size_bytes": len(OTHER), "source": "/elsewhere.onnx"}
    (place / "weights.json").write_text(json.dumps({"yolox-nano": recorded}))
    with pytest.raises(UserError, match="is not what the catalogue names") as caught:
        resolve("yolox-nano")
    # Where that came from would not fix it.
    assert caught.value.problems[0].endswith("run: winnow models pull yolox-nano")
    assert of_file_says(place / "yolox_nano.onnx") == caught.value.problems
    assert pull("yolox-nano", f"{server}/good").size_bytes == len(DATA)
    assert state() == "present"


def of_file_says(path: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        of_file(path)
    return list(caught.value.problems)


@pytest.mark.usefixtures("pinned")
def test_weights_of_the_catalogue_are_recognised_without_a_pull(place: Path) -> None:
    place.mkdir()
    (place / "yolox_nano.onnx").write_bytes(DATA)
    assert (state(), resolve("yolox-nano").sha256, resolve("yolox_nano.onnx").name) == ("present", SHA, "yolox-nano")
    assert licence_of(SHA, None) == Licence("Apache-2.0")
    (place / "yolox_nano.onnx").write_bytes(OTHER)
    assert (state(), resolve("yolox_nano.onnx").name) == ("altered", "yolox_nano")
    assert entries(["yolox-nano"])[0].state == "altered"  # its size tells


def test_a_file_that_merely_has_the_name_is_refused(server: str, place: Path) -> None:
    for force in (False, True):
        with pytest.raises(RunFailedError, match="but the catalogue names 3,659,407, of revision"):
            pull("yolox-nano", f"{server}/good", force=force)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("name", "kind"), [("yolox-tiny", "an ONNX graph"), ("yolo26n", "a checkpoint of torch")])
def test_weights_of_another_type_are_not_kept(place: Path, tmp_path: Path, name: str, kind: str) -> None:
    for text in (b"# Winnow\n\nWinnow turns", b"<!DOCTYPE html>", b"", DATA[:-1] if "ONNX" in kind else DATA):
        (tmp_path / "some").write_bytes(text)
        with pytest.raises(UserError, match=f"expected {kind}, but .*some is of another type; nothing was kept"):
            pull(name, str(tmp_path / "some"))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("page", "said"), [("half", "are missing; pull again"), ("gone", "404")])
def test_incomplete_downloads_are_not_kept(server: str, place: Path, page: str, said: str) -> None:
    with pytest.raises(RunFailedError, match=said):
        pull("yolox-nano", f"{server}/{page}")
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("unpinned")
def test_missing_weights_are_reported_with_a_fix(place: Path) -> None:
    with pytest.raises(UserError, match="run: winnow models pull yolox-tiny"):
        resolve("yolox-tiny")
    with pytest.raises(UserError, match=r"weights none\.onnx: expected a file or one of yolox-nano"):
        resolve("none.onnx")
    with pytest.raises(UserError, match="expected a file, or a name"):
        resolve("")
    place.mkdir()
    (place / "yolox_s.onnx").write_bytes(DATA)
    assert state("yolox-s") == "unrecorded"
    with pytest.raises(UserError) as caught:
        pull("a")
    assert caught.value.problems[0].startswith("there are no weights 'a'; there are: yolox-nano")


@pytest.mark.usefixtures("unpinned")
def test_a_users_own_file_needs_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(DATA)
    found = resolve(str(tmp_path / "mine.onnx"))
    assert (found.name, found.sha256, found.model) == ("mine", SHA, None)
    assert licence_of(SHA, None) == Licence(None, NOT_STATED)
    # It is known for what it is once that was recorded.
    pull("yolox-nano", str(tmp_path / "mine.onnx"))
    assert resolve(str(tmp_path / "mine.onnx")).name == "yolox-nano"
    assert licence_of(SHA, "something else") == Licence("Apache-2.0")


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ("AGPL-3.0 License (https://ultralytics.com/license)", "the source of the whole program"),
        ("CC-BY-NC-4.0", "commercially"),
        ("for non-commercial use", "commercially"),
        ("Apache-2.0", None),
        ("MIT: once upon an agency", None),
    ],
)
def test_licence_notices_are_shown_once(said: str, asks: str | None) -> None:
    licence = licence_of(SHA, said)
    first = notice(SHA, licence)
    assert (first is None) == (asks is None)
    assert asks is None or asks in (first or "")
    assert notice(SHA, licence) is None


@pytest.mark.parametrize("said", [None, "unknown"])
def test_an_unstated_licence_is_reported(said: str | None) -> None:
    first = notice(SHA, licence_of(SHA, said))
    assert first == "no licence is stated for these weights: ask their makers before they are used or passed on"
    about = notice("openai:seer", licence_of("openai:seer", "research only"), "the answers of seer")
    assert about == "the answers of seer are under research only: it is for research alone"


def test_the_catalogue_is_in_order() -> None:
    for name, model in catalogue().items():
        if model.repository is None:
            assert model.source.startswith("https://")
            assert model.source.endswith(model.file)
            assert model.revision in model.source
        else:
            assert (model.repository.count("/"), model.file) == (1, name)
            # A commit: branches and tags move on.
            assert len(bytes.fromhex(model.revision)) == 20
        assert len(bytes.fromhex(model.sha256 or "")) == 32, name
        assert (model.size_bytes or 0) > 1_000_000, name
        assert (model.restriction is None) == (model.licence in {"Apache-2.0", "MIT", "BSD-3-Clause"}), name
    for field in ("file", "sha256", "size_bytes"):
        assert len({getattr(model, field) for model in catalogue().values()}) == len(catalogue()), field


@pytest.mark.parametrize("named", ["0" * 5000, "a\0b", "~nobody-of-this-name/x", "ü" * 300])
def test_names_that_no_file_system_takes_are_refused_like_others(named: str) -> None:
    assert places_of(named) == []
    with pytest.raises(UserError, match="expected a file or one of"):
        resolve(named)
