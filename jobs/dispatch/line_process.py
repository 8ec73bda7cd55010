"""What the process of a `LineWorker` runs: an answer to each line of its input, until nobody asks."""

from __future__ import annotations

import json
import os
import selectors
import sys
from collections.abc import Callable
from typing import Any


def answer_lines(answer: Callable[[dict[str, Any]], dict[str, Any]], idle_s: float) -> None:
    """Answer requests of the standard input until there are no more, or none for so long.

    It ends with the server that started it, whose end closes the input. What libraries print is no answer: it goes to
    the standard error.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        while selector.select(idle_s):
            line = sys.stdin.readline()
            if not line:
                return
            answers.write(json.dumps(answer(json.loads(line))) + "\n")
            answers.flush()
