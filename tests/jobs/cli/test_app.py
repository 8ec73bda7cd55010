"""How the program ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

IN_THE_MIDDLE = """
import sys
class Interrupting:
    "As a user who presses Ctrl-C while a module is imported."
    @staticmethod
    def find_spec(name, *_):
        if name == "jobs.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting)
import jobs.cli
jobs.cli.main()
"""

AT_THE_END = """
import atexit, sys, threading, time
import jobs.cli.exit
class Aborting:
    "As a library that cannot be taken apart."
    def __del__(self):
        import os
        os.abort()
kept = Aborting()
atexit.register(print, "said at the end")
threading.Thread(target=lambda: (time.sleep(0.2), print("done alongside"))).start()
sys.stdout.write("said before, ")
jobs.cli.exit.leave(3)
"""


def ended(program: str) -> tuple[int, str, str]:
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return found.returncode, found.stdout, found.stderr


def test_an_interrupt_while_the_program_is_imported_is_no_traceback() -> None:
    assert ended(IN_THE_MIDDLE) == (130, "", "")


def test_exit_handlers_run_and_other_threads_do_not_delay_the_exit_code() -> None:
    assert ended(AT_THE_END) == (3, "said before, done alongside\nsaid at the end\n", "")


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["no-such-command"], 2)])
def test_the_program_is_a_module(words: list[str], code: int) -> None:
    command = [sys.executable, "-m", "jobs.cli", *words]
    assert subprocess.run(command, capture_output=True, check=False).returncode == code
