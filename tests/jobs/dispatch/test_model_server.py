"""A run whose detector is on a server of models, which is a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

import schemas
from jobs.core.errors import UserError
from jobs.core.interpreter import ROOT, python
from jobs.models.remote_models import TOKEN, URL
from jobs.storage.workspace import Workspace
from tests.faults.model_server import models_of
from tests.helpers import OURS, computed, go, noise, rows, scenery, winnow, write_clip, write_clip_model, write_hiding
from tests.machines import apart, free_ports
from tests.models import held_at_hand
from tests.onnx_graphs import write_end_to_end
from tests.transforms.models.test_remote import sent
from tests.waiting import ended

pytest.importorskip("starlette", reason="the extra `serve-models` is not installed")
pytestmark = [pytest.mark.usefixtures("engine"), pytest.mark.slow]
SECRET = "open sesame"
SMALL = ("resources.model_frames=4", "resources.model_batch=2")


def settings(weights: Path, *more: str) -> list[str]:
    return ["stages=[frames, annotate]", "annotate.detector=onnx", f"annotate.weights={weights}", *SMALL, *more]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_end_to_end(tmp_path_factory.mktemp("weights") / "red.onnx", batch="N")


@pytest.fixture(scope="module")
def seen_by(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of a stage that makes vectors, next to that of the detector; none where there is no library for that."""
    if find_spec("open_clip") is None:
        return []
    weights = write_clip_model(tmp_path_factory.mktemp("clip") / "tiny")
    return ["stages=[frames, embeddings, annotate]", f"embed.weights={weights}"]


@pytest.fixture(scope="module")
def serving(weights: Path, seen_by: list[str]) -> Iterator[tuple[str, int]]:
    """Address and process of a server."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "jobs.cli", "serve-models", "--port", str(port)]
    every = settings(weights, *seen_by, "annotate.frames=all", "resources.num_cpus=1")
    command += [part for s in every for part in ("--set", s)]
    with apart() as environment:
        environment |= {TOKEN: SECRET}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert said.strip() == f"serving embeddings, annotate at http://127.0.0.1:{port}", (
                said + process.stderr.read()
            )
            yield f"http://127.0.0.1:{port}", process.pid
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 0


@pytest.fixture
def server(serving: tuple[str, int]) -> str:
    return serving[0]


def test_folders_of_users_hide_nothing_from_a_server_of_models(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some as packages and some as modules: each server starts a cluster.
    write_hiding(tmp_path / "here", are_modules=False, names=OURS[::2])
    write_hiding(tmp_path / "here", are_modules=True, names=OURS[1::2])
    frames = write_red(tmp_path / "cam", 3)
    (port,) = free_ports(1)
    words = [part for s in settings(weights, "resources.num_cpus=1") for part in ("--set", s)]
    command = python("-m", "jobs.cli", "serve-models", "--port", str(port), "--replicas", "1", *words)
    with apart() as environment:
        environment |= {"PYTHONPATH": str(ROOT), TOKEN: SECRET}
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path / "here"
        ) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert said.strip() == f"serving annotate at http://127.0.0.1:{port}", said + process.stderr.read()
            monkeypatch.setenv(URL, f"http://127.0.0.1:{port}")
            monkeypatch.setenv(TOKEN, SECRET)
            workspace = Workspace.at(tmp_path / "tables")
            go(workspace, frames, settings=settings(weights))
            process.send_signal(signal.SIGTERM)
            assert ended(process)[0] == 0
    assert rows(workspace, schemas.ANNOTATED)["n_objects"].to_list() == [1, 1, 1]


@pytest.fixture
def asked(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(URL, server)
    monkeypatch.setenv(TOKEN, SECRET)
    return server


def write_red(folder: Path, n: int = 7) -> Path:
    folder.mkdir()
    for number in range(n):
        frame = np.repeat(noise(number, 128, 256)[:, :, None] // 2, 3, axis=2)
        frame[16:48, 8 * number : 8 * number + 40] = (0, 0, 255)
        cv2.imwrite(str(folder / f"image_{number}.jpg"), frame)
    return folder


def test_rows_are_those_of_a_model_in_the_run_itself(
    asked: str, weights: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_red(tmp_path / "cam")
    clip = write_clip(tmp_path / "gate.mp4", scenery(5))
    every = settings(weights, "annotate.frames=all")
    record = go(workspace, cam, clip, settings=every)
    assert computed(record)["annotate"] == 12
    assert record.counts["frames_decoded"] == 12
    monkeypatch.delenv(URL)
    alone = Workspace.at(tmp_path / "alone")
    with held_at_hand():
        go(alone, cam, clip, settings=every)
    for table in (schemas.ANNOTATIONS, schemas.ANNOTATED):
        assert rows(workspace, table).equals(rows(alone, table)), table.name
    assert rows(workspace, schemas.ANNOTATIONS).height >= 7
    # Where a model ran is no part of what it said.
    assert computed(go(workspace, cam, clip, settings=every)) == {}


def test_vectors_are_those_of_a_model_in_the_run_itself(
    asked: str,
    weights: Path,
    seen_by: list[str],
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("open_clip", reason="the extra `embeddings` is not installed")
    cam = write_red(tmp_path / "cam")
    # Larger than the model sees them: what is decoded smaller here has to be decoded so there.
    cv2.imwrite(str(cam / "image_7.jpg"), cv2.resize(cv2.imread(str(cam / "image_0.jpg")), (1600, 800)))
    clip = write_clip(tmp_path / "gate.mp4", scenery(5))
    every = settings(weights, *seen_by, "annotate.frames=all")
    record = go(workspace, cam, clip, settings=every)
    assert computed(record)["embeddings"] == computed(record)["annotate"] == 13
    monkeypatch.delenv(URL)
    alone = Workspace.at(tmp_path / "alone")
    with held_at_hand():
        go(alone, cam, clip, settings=every)
    there, here = rows(workspace, schemas.EMBEDDINGS), rows(alone, schemas.EMBEDDINGS)
    assert there.drop("vector").equals(here.drop("vector"))
    # Another number of threads rounds sums otherwise.
    np.testing.assert_allclose(np.array(there["vector"].to_list()), np.array(here["vector"].to_list()), atol=1e-5)
    assert there["vector"].n_unique() == 13
    assert computed(go(workspace, cam, clip, settings=every)) == {}


def test_models_that_the_server_lacks_are_refused_before_any_work(
    asked: str, weights: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cam = write_red(tmp_path / "cam", 2)
    other = write_end_to_end(tmp_path / "red.onnx", batch="N", licence="MIT")
    with pytest.raises(UserError, match=r"annotate\.weights_hash: requested") as caught:
        go(workspace, cam, settings=settings(other, "annotate.frames=all", "annotate.min_score=0.5"))
    assert any(p.startswith("annotate.min_score: requested 0.5, the server") for p in caught.value.problems)
    monkeypatch.setenv(TOKEN, "open barley")
    with pytest.raises(UserError, match="says 401: expected the token of this server"):
        go(workspace, cam, settings=settings(weights))
    for url, hint in (("http://127.0.0.1:1", "no server of models answers at"), ("gpu:8000", "expected http://HOST")):
        monkeypatch.setenv(URL, url)
        with pytest.raises(UserError, match=hint):
            go(workspace, cam, settings=settings(weights))
    assert not workspace.exists
    # Detectors that have no weights, or look back, stay in the run.
    monkeypatch.setenv(URL, asked)
    go(workspace, cam, settings=["stages=[frames, annotate]", "annotate.detector=motion", "annotate.frames=all"])


def test_requests_without_the_secret_are_refused(asked: str) -> None:
    for path, status in (("/v1/stages", 401), ("/v1/look/annotate", 401)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked + path)
        assert caught.value.code == status
    request = urllib.request.Request(f"{asked}/v1/look/annotate", b"no frames", {"Authorization": f"Bearer {SECRET}"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 409
    known = urllib.request.Request(f"{asked}/v1/stages", headers={"Authorization": f"Bearer {SECRET}"})
    with urllib.request.urlopen(known) as answer:
        (stage,) = [each for each in json.loads(answer.read()) if each["stage"] == "annotate"]
    request.add_header("X-Stage-Key", stage["key"])
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400


def test_a_port_that_is_in_use_is_refused_before_any_work(tmp_path: Path) -> None:
    weights = write_end_to_end(tmp_path / "red.onnx", batch="N")
    settings = ("stages=[annotate]", "annotate.detector=onnx", f"annotate.weights={weights}")
    with socket.socket() as other:
        # As servers of Ray listen, which share a port.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = winnow("serve-models", "--port", port, *(word for one in settings for word in ("--set", one)))
    assert isinstance(result.exception, UserError)
    assert f"--host 127.0.0.1 --port {port}: cannot listen there" in str(result.exception)


def test_serving_without_model_stages_is_refused(tmp_path: Path) -> None:
    result = winnow("serve-models", "--set", "stages=[quality]")
    assert isinstance(result.exception, UserError)
    assert "no stage of this configuration" in str(result.exception)
    assert os.environ.get(URL) is None


def test_malformed_bodies_are_refused_while_the_process_stays(asked: str, serving: tuple[str, int]) -> None:
    known = urllib.request.Request(f"{asked}/v1/stages", headers={"Authorization": f"Bearer {SECRET}"})
    with urllib.request.urlopen(known) as answer:
        (stage,) = [each for each in json.loads(answer.read()) if each["stage"] == "annotate"]
    headers = {"Authorization": f"Bearer {SECRET}", "X-Stage-Key": stage["key"]}

    def status(body: bytes) -> int:
        request = urllib.request.Request(f"{asked}/v1/look/annotate", body, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    before = models_of(serving[1])
    assert before
    sound = sent()
    assert status(sound) == 200
    rng = random.Random(17)
    # Text of three rows whose offsets lead far out of its buffer, bodies that end too early, and noise.
    at = sound.index(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]))
    bodies = [sound[:at] + rng.randbytes(12) + b"\xff\xff\xff\x7f" + sound[at + 16 :] for _ in range(20)]
    bodies += [sound[: rng.randrange(8, len(sound) - 200)] for _ in range(20)]
    bodies += [rng.randbytes(rng.randrange(1, 4000)) for _ in range(20)]
    assert [status(body) for body in bodies] == [400] * 60
    assert status(sound) == 200
    assert models_of(serving[1]) == before
