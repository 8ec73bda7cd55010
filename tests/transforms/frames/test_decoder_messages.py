from __future__ import annotations

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.frames.decoder_messages import listen


def say(text: str) -> int:
    """Print as a decoder does, and return the length of the text."""
    libc = ctypes.CDLL(None)
    libc.perror(text.encode())
    return len(text)


def test_messages_that_libraries_print_are_returned(capfd: pytest.CaptureFixture[str]) -> None:
    length, said = listen(lambda: say("Corrupt JPEG data"))
    assert (length, (said or "")[:17]) == (17, "Corrupt JPEG data")
    assert listen(lambda: 7) == (7, "")
    assert capfd.readouterr().err == ""


def test_output_of_python_is_not_captured(capfd: pytest.CaptureFixture[str]) -> None:
    assert listen(lambda: os.write(2, b"progress")) == (8, "")
    print("more", file=sys.stderr, end="")
    assert capfd.readouterr().err == "progressmore"
    say("afterwards")
    assert "afterwards" in capfd.readouterr().err


def test_threads_do_not_hear_one_another() -> None:
    texts = [f"message {number} " * 20 for number in range(200)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda text: listen(lambda: say(text))[1] or "", texts))
    assert [said.startswith(text) for said, text in zip(found, texts, strict=True)] == [True] * 200


def test_messages_before_a_failure_are_not_returned_later() -> None:
    def fail() -> None:
        say("one thing")
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        listen(fail)
    assert listen(lambda: 1) == (1, "")
