"""What the program prints of problems."""

from __future__ import annotations

import json

import pytest

from jobs.cli.error_output import print_problems


def test_a_problem_is_a_line_that_a_terminal_shows_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems(["a\x1b[31m\u202eb Größe", f"expected a name, found {'x' * 5000}; name another"], 2, as_json=True)
    first, second = (out := capsys.readouterr()).err.splitlines()
    assert first == "error: a\\x1b[31m\\u202eb Größe"
    assert second.startswith("error: expected a name, found xxx")
    assert second.endswith("xxx; name another")
    assert " characters … xxx" in second
    assert len(second) < 1100
    assert json.loads(out.out)["error"] == [first.removeprefix("error: "), second.removeprefix("error: ")]
