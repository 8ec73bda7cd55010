"""Embeddings, compared with open-clip itself on a small model of random weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image

from tests.helpers import noise, write_clip_model
from transforms.frames.image import Color
from transforms.models.embeddings import Embedder, EmbedderSpec, EmbedParams, fitted, vector_array, vector_column


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip_model(tmp_path_factory.mktemp("weights") / "tiny")


def embed(weights: Path, pictures: list[Color], params: EmbedParams) -> npt.NDArray[np.float32]:
    embedder = Embedder(EmbedderSpec(weights, "0" * 32, params), 1)
    return np.stack(embedder.infer([embedder.prepare(picture) for picture in pictures]))


def colored(seed: int) -> Color:
    return cv2.merge([noise(seed, 90, 160), noise(seed + 100, 90, 160), noise(seed + 200, 90, 160)])


def test_vectors_of_cropped_images_equal_those_of_open_clip(weights: Path) -> None:
    import open_clip
    import torch

    pictures = [colored(seed) for seed in range(6)]
    ours = embed(weights, pictures, EmbedParams(fit="crop"))
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{weights}")
    model.eval()
    given = torch.stack([prepare(Image.fromarray(picture[..., ::-1])) for picture in pictures])
    with torch.inference_mode():
        theirs = model.encode_image(given, normalize=True).numpy()
    # Only the filter that reduces the images differs from open-clip's.
    alike = (ours * theirs).sum(1)
    among = (theirs @ theirs.T)[~np.eye(6, dtype=bool)]
    assert alike.min() > 0.9995
    assert np.quantile(among, 0.75) < 0.998
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_the_sides_of_an_image_count_unless_it_is_cropped(weights: Path) -> None:
    whole, changed = colored(1), colored(1)
    changed[:, :30] = colored(2)[:, :30]
    squashed = embed(weights, [whole, changed], EmbedParams())
    cropped = embed(weights, [whole, changed], EmbedParams(fit="crop"))
    assert not np.allclose(squashed[0], squashed[1], atol=1e-3)
    np.testing.assert_allclose(cropped[0], cropped[1], atol=1e-6)


def test_a_vector_does_not_depend_on_its_batch(weights: Path) -> None:
    pictures = [colored(seed) for seed in range(5)]
    together = embed(weights, pictures, EmbedParams())
    alone = np.concatenate([embed(weights, [picture], EmbedParams()) for picture in pictures])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_half_precision_is_close_to_single(weights: Path) -> None:
    full, half = (embed(weights, [colored(3)], EmbedParams(precision=p)) for p in ("fp32", "bf16"))
    assert 0.999 < (full * half).sum() < 1.001


@pytest.mark.parametrize("size", [(90, 160), (160, 90), (20, 400), (224, 224)])
def test_a_fitted_image_has_the_model_size(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    assert fitted(picture, 32, 48, crop=False).shape == fitted(picture, 32, 48, crop=True).shape == (32, 48, 3)


def test_vector_columns_round_trip() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.chunked_array([vector_column(vectors[:1]), vector_column(vectors[1:])])
    np.testing.assert_array_equal(vector_array(column), vectors)
    np.testing.assert_array_equal(vector_array(column.slice(1, 2)), vectors[1:3])
    with pytest.raises(ValueError, match="one length"):
        vector_array(pa.chunked_array([pa.array([[1.0, 2.0], [3.0]], pa.list_(pa.float32()))]))
