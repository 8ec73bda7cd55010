from __future__ import annotations

import sys

import pytest

import jobs.cli


class Interrupting:
    """Stands for a user who presses Ctrl-C while a module is imported."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "jobs.cli.app":
            raise KeyboardInterrupt


def test_an_interrupt_while_the_program_is_imported_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jobs.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupting, *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        jobs.cli.main()
    assert end.value.code == 130
