"""A process that encodes texts for a server: it holds the model, so that the server does not.

It reads a JSON object from each line of its input: first the settings of the embedder, then `{"text": …}`. It answers
each with one line: `{"model": …}` with the label of the model's rows, `{"vector": […]}`, or `{"problems": […]}`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from conf.loader import parse
from jobs.core.errors import UserError, one_line
from jobs.models.embedder import weights_of
from transforms.models.embeddings import EmbedderSpec
from transforms.models.text_vectors import TextEncoder


def main() -> None:
    """Answer until the input ends."""
    # Libraries print to the standard output, which is for answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    encoder: TextEncoder | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any]
        try:
            if encoder is None:
                encoder, answer = _loaded(asked["config"])
            else:
                answer = {"vector": [float(value) for value in encoder.encode(asked["text"])]}
        except UserError as error:
            answer = {"problems": error.problems}
        except Exception as error:
            answer = {"problems": [f"the text encoder failed: {type(error).__name__}: {one_line(error)}"]}
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


def _loaded(config: dict[str, Any]) -> tuple[TextEncoder, dict[str, Any]]:
    """Return the encoder of a configuration, and how rows of its image encoder are labelled."""
    parsed = parse(config)
    source, weights_hash = weights_of(parsed)
    spec = EmbedderSpec(source, weights_hash, parsed.embed)
    return TextEncoder(spec), {"model": f"{parsed.embed.model or 'open_clip'}@{weights_hash[:16]}"}


if __name__ == "__main__":
    main()
