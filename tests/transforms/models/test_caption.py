"""Captions, compared with the library itself on a small model of random weights."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

import schemas
from tests.torch_models import colored, pickled, write_blip
from transforms.models.caption import Captioner, CaptionerSpec, CaptionParams
from transforms.models.inference import ModelError

pytest.importorskip("transformers", reason="the extra `transformers` is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("weights") / "tiny")


def captions(folder: Path, n: int, params: CaptionParams, at_once: int = 8) -> list[str]:
    captioner = Captioner(CaptionerSpec("BlipForConditionalGeneration", folder, "tiny", "0" * 64, params))
    ready = [captioner.prepare(colored(seed)) for seed in range(n)]
    return [text for at in range(0, n, at_once) for text in captioner.infer(ready[at : at + at_once])]


@pytest.mark.parametrize("prompt", [None, "a word3"])
def test_captions_equal_those_of_the_library(weights: Path, prompt: str | None) -> None:
    import torch
    from PIL import Image
    from transformers import BlipForConditionalGeneration, BlipProcessor

    params = CaptionParams(prompt=prompt, beams=2, max_words=6)
    mine = captions(weights, 4, params)
    model = BlipForConditionalGeneration.from_pretrained(weights).eval()
    processor = BlipProcessor.from_pretrained(weights)
    for seed, said in enumerate(mine):
        given = processor(images=Image.fromarray(colored(seed)[:, :, ::-1]), text=prompt, return_tensors="pt")
        with torch.inference_mode():
            theirs = model.generate(**given, max_new_tokens=6, num_beams=2, do_sample=False)
        assert said == processor.decode(theirs[0], skip_special_tokens=True).strip()
        assert said
        assert said.startswith(prompt or "")
    assert len(set(mine)) > 1
    assert captions(weights, 4, params, at_once=1) == mine == captions(weights, 4, params)


class Harmful:
    """Runs code when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.place,)


def test_pickled_weights_are_read_as_tensors_only(weights: Path, tmp_path: Path) -> None:
    import torch

    params = CaptionParams(beams=2, max_words=6)
    folder = pickled(weights, tmp_path / "pickled")
    assert not list(folder.glob("*.safetensors"))
    assert captions(folder, 4, params) == captions(weights, 4, params)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save({**state, "more": Harmful(tmp_path / "harm")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no BlipForConditionalGeneration: .*weights_only"):
        captions(folder, 1, params)
    assert not (tmp_path / "harm").exists()


def test_rows_fit_their_table(weights: Path) -> None:
    captioner = Captioner(CaptionerSpec("BlipForConditionalGeneration", weights, "tiny", "0" * 64, CaptionParams()))
    frames = pa.table({"stream_id": ["a", "a"], "frame_idx": [0, 1], "input_id": [7, 8]})
    rows = captioner.rows(frames, ["one", "two"])["captions"]
    schemas.CAPTIONS.check(rows.select(schemas.CAPTIONS.file_schema.names).cast(schemas.CAPTIONS.file_schema))
    assert rows["caption"].to_pylist() == ["one", "two"]
