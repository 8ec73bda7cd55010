"""Bad words for the commands of trainings, models, decisions by hand, accounts and servers, and bad edits over HTTP.

Each is taken, or refused with exit code 1 or 2, or a status from 400 to 499, and short lines; nothing else happens.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import schemas
from jobs.datasets import release
from jobs.models import registry
from jobs.storage.store import Store
from jobs.storage.workspace import Workspace
from tests import bad_command_words
from tests.accounts import PASSWORD
from tests.bad_review_files import damaged_json
from tests.jobs.review.material import annotated
from tests.jobs.web.material import Server, served
from tests.jobs.web.reviewing import STREAM, Desk, desk
from tests.test_bad_inputs import SEED, assert_sound, inside, is_printable, place

__all__ = ["inside", "place"]

pytestmark = pytest.mark.slow

COUNTS = {"train": 120, "models": 120, "weights": 60, "overrides": 120, "accounts": 100, "oidc": 100, "serve": 60}
EDITS = 250


def every(kind: str, n: int | None = None) -> Iterator[random.Random]:
    for at in range(COUNTS[kind] if n is None else n):
        yield random.Random(f"{SEED} {kind} {at}")


@pytest.fixture
def tables(inside: Path) -> Path:
    """The workspace of the place, with a release and a version of a model."""
    root = inside / "tables"
    store = Store(Workspace.at(root).root)
    if not store.read(schemas.RELEASES).num_rows:
        release.create(store, "v1")
        about = {"name": "yard", "model_id": "0" * 64, "job_id": "a", "release": "v1", "detector": "torchvision"}
        more = {"folder": "training/a", "classes": ["red"], "best_epoch": 1, "note": None}
        registry.register(store, {**about, **more})
    return root


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("train", bad_command_words.training),
        ("models", bad_command_words.model_command),
        ("overrides", bad_command_words.decision),
    ],
)
def test_commands_on_a_workspace(tables: Path, kind: str, made: Callable[[random.Random], tuple[str, ...]]) -> None:
    for rng in every(kind):
        if is_printable(*(words := made(rng))):
            assert_sound(*words[:2], "-w", tables, *words[2:])


def test_references_to_models(tables: Path, inside: Path) -> None:
    for rng in every("weights"):
        if is_printable(named := bad_command_words.reference(rng)):
            settings = ("--set=annotate.detector=torchvision", f"--set=annotate.weights={named}")
            stages = "--set=stages=[frames, annotate]"
            assert_sound("run", "--dry-run", "-w", tables, "-i", inside / "data/yard/gate", stages, *settings)


def test_accounts(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("argon2", reason="the extra `serve` is not installed")
    for rng in every("accounts"):
        if not is_printable(*(words := bad_command_words.account_command(rng, ["jane"]))):
            continue
        given = rng.choice((PASSWORD, "", "short", "x" * 100_000, "\x00" * 20, "é" * 300))
        monkeypatch.setattr("sys.stdin", StringIO(given + "\n"))
        where = ("-w", tables)
        assert_sound(*words[:2], *where, *words[2:])


def test_openid_providers(tables: Path, tmp_path: Path) -> None:
    pytest.importorskip("joserfc", reason="the extra `oidc` is not installed")
    file = tmp_path / "provider.yaml"
    for rng in every("oidc"):
        file.write_bytes(bad_command_words.provider_text(rng).encode("utf-8", "surrogatepass"))
        missing = f"--tls-cert={tmp_path / 'missing.pem'}"
        assert_sound("serve", "--no-pages", "-w", tables, f"--oidc={file}", missing, f"--tls-key={missing}")


def test_servers(tables: Path, tmp_path: Path) -> None:
    for rng in every("serve"):
        if is_printable(*(words := bad_command_words.server_words(rng, str(tmp_path / "missing.pem")))):
            assert_sound(*words, "-w", tables)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("edited")
    (folder / "accounts").mkdir()
    return served(annotated(folder), folder / "accounts")


def _bodies(who: Desk) -> dict[str, dict[str, Any]]:
    """Return a sound body for each route that changes something in review, on a frame as it is now."""
    now = who.frame(0)
    drawn = f"drawn-{secrets.token_hex(4)}"
    ops = [
        {"op": "add", "object_id": drawn, "category": "red", "bbox": [100, 50, 20, 10], "attributes": {"a": "b"}},
        {"op": "set", "object_id": drawn, "polygons": [[1, 1, 20, 1, 20, 20]]},
        {"op": "delete", "object_id": drawn},
    ]
    on = {"stream": STREAM, "idx": 0, "h": now["h"]}
    keyframes = [{"idx": 0, "bbox": [1, 2, 30, 40]}, {"idx": 3, "bbox": [5, 2, 30, 40]}]
    event = {"event_id": secrets.token_hex(16)}
    return {
        "events": {**event, **on, "base_revision": now["revision"], "kind": "edit", "ops": ops},
        "decisions": {**event, **on, "base_revision": now["revision"], "kind": "reopen", "note": "again"},
        "leases": {"n": 1, "tab": "open", "stream": [STREAM], "where": "frame_idx > 2", "exclude": []},
        "comments": {"stream": STREAM, "idx": 0, "text": "too dark"},
        "categories": {"kind": "colour", "category": "red", "colour": "#ff0000"},
        "bulk": {**event, "kind": "edit", "op": {"op": "set", "category": "red"}, "frames": [{**on, "objects": []}]},
        "tracks": {**event, "stream": STREAM, "category": "red", "keyframes": keyframes},
    }


@pytest.mark.process
def test_review_over_http(server: Server) -> None:
    who = desk(server, "reviewer")
    statuses: dict[str, set[int]] = {}
    for rng in every("review", EDITS):
        route, body = rng.choice([*_bodies(who).items()])
        data = damaged_json(rng, json.dumps(body).encode())
        address = f"/api/v1/projects/{server.project}/review/{route}"
        headers = {**who.headers, "content-type": "application/json"}
        answer = server.client.post(address, content=data, headers=headers)
        assert answer.status_code < 500, (route, data[:600], answer.text[:600])
        assert len(answer.text) < 30_000, (route, data[:600], answer.text[:600])
        statuses.setdefault(route, set()).add(answer.status_code)
    assert statuses.keys() == _bodies(who).keys()
    assert all(422 in found or 400 in found for found in statuses.values()), statuses
    # What is there can be edited as before.
    assert who.post("events", **_bodies(who)["events"]).status_code == 200
    assert {each["stream_id"] for each in who.get("queue")["frames"]} == {STREAM}
