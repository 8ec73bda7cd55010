"""Frames found by a text, compared with open-clip itself on a small model of random weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.storage.workspace import Workspace
from jobs.views.view import View
from jobs.web.text_search import TextEncoders
from tests.helpers import TINY_CLIP, go, write_clip_model, write_noise_stream
from tests.jobs.web.served import API, PROJECT, Site, served
from tests.waiting import wait_until
from transforms.models.embeddings import vector_array

pytestmark = [pytest.mark.process, pytest.mark.slow]

N = 6
# As many words as open-clip's own tokenizer knows.
_READS: dict[str, Any] = TINY_CLIP | {
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 1}
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip_model(tmp_path_factory.mktemp("weights") / "clip", architecture=_READS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("searched")
    stream = write_noise_stream(folder / "cam", range(N))
    settings = ("stages=[+embeddings]", f"embed.weights={weights}")
    go(Workspace.at(folder / "root" / PROJECT), stream, settings=settings)
    with served(folder / "root") as found:
        yield found


def _expected(site: Site, weights: Path, text: str) -> dict[int, float]:
    """Return the cosine of each frame with a text, by open-clip."""
    import open_clip
    import torch

    model = open_clip.create_model(f"local-dir:{weights}")
    model.eval()
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(f"local-dir:{weights}")([text])
        vector = model.encode_text(tokens, normalize=True)[0].numpy()
    assert site.settings.root is not None
    rows = View.of(Workspace.at(site.settings.root / PROJECT)).sql("SELECT frame_idx, vector FROM embeddings")
    return dict(zip(rows["frame_idx"].to_pylist(), (vector_array(rows["vector"]) @ vector).tolist(), strict=True))


def test_frames_are_in_the_order_of_their_cosine_with_the_text(site: Site, weights: Path) -> None:
    client = site.client("viewer")
    orders = set()
    for text in ("a red car", "fog", "a person with an umbrella at night"):
        expected = _expected(site, weights, text)
        answer = client.get(f"{API}/projects/{PROJECT}/search", params={"text": f" {text} ", "limit": N})
        assert answer.status_code == 200, answer.text
        found = {frame["frame_idx"]: frame["cosine"] for frame in answer.json()["frames"]}
        assert list(found) == sorted(expected, key=lambda frame: -expected[frame])
        np.testing.assert_allclose([found[n] for n in range(N)], [expected[n] for n in range(N)], atol=1e-5)
        orders.add(tuple(found))
    assert len(orders) > 1, "texts that mean nothing else find the same frames"


def test_a_text_without_words_and_frames_without_embeddings_are_refused(site: Site) -> None:
    client = site.client("root")
    assert client.get(f"{API}/projects/{PROJECT}/search", params={"text": "  "}).json()["lines"] == [
        "text: expected words, found none"
    ]
    answer = client.get(f"{API}/projects/yard/search", params={"text": "fog"})
    assert answer.status_code == 400
    assert "--add-stage embeddings" in answer.json()["lines"][0]


def test_missing_weights_are_named_with_the_way_to_them_and_the_process_ends_when_nobody_asks(
    site: Site, weights: Path
) -> None:
    encoders: TextEncoders = site.app.state.text_encoders
    encoders.close()
    hidden = weights.with_name("hidden")
    shutil.move(weights, hidden)
    try:
        answer = site.client("root").get(f"{API}/projects/{PROJECT}/search", params={"text": "fog"})
        assert answer.status_code == 400
        (line,) = answer.json()["lines"]
        assert line.startswith("embed.weights="), line
        assert encoders.pid is None
    finally:
        shutil.move(hidden, weights)
    encoders._idle_s = 0.1
    assert site.client("root").get(f"{API}/projects/{PROJECT}/search", params={"text": "fog"}).status_code == 200
    wait_until(lambda: encoders.pid is None)
    encoders._idle_s = 300.0
    assert site.client("viewer").get(f"{API}/projects/{PROJECT}/search", params={"text": "fog"}).status_code == 200
    assert encoders.pid is not None
