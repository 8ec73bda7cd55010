"""Vectors of texts by the text encoder of an open-clip model, in the space of its image embeddings."""

from __future__ import annotations

from transforms.models.embeddings import EmbedderSpec, Vector


class TextEncoder:
    """The text half of the model that a run embedded its frames with; on the CPU, where one text takes milliseconds."""

    def __init__(self, spec: EmbedderSpec, threads: int = 1) -> None:
        """Load the model and its tokenizer. Raises errors of torch and open-clip for unsuitable weights."""
        import open_clip
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        name = f"local-dir:{spec.source}" if spec.source.is_dir() else spec.params.model
        file = None if spec.source.is_dir() else str(spec.source)
        self._model = open_clip.create_model(name, pretrained=file, device="cpu", require_pretrained=True)
        self._model.eval()
        # Its images are not encoded here, and their half is the larger one.
        self._model.visual = None
        self._tokenize = open_clip.get_tokenizer(name)

    def encode(self, text: str) -> Vector:
        """Return the vector of a text, of length 1, shape (D,), float32.

        Words past the model's context (77 tokens for most) do not count. Raises `ValueError` for a vector that is not
        finite.
        """
        torch = self._torch
        with torch.inference_mode():
            vector = self._model.encode_text(self._tokenize([text])).to(torch.float32)
            found: Vector = torch.nn.functional.normalize(vector, dim=-1)[0].numpy()
        if not bool(torch.isfinite(torch.from_numpy(found)).all()):
            raise ValueError("the model returned numbers that are not finite")
        return found
