"""The command `winnow`, which is `python -m winnow` too."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; this package has made sure by now that our others are not hidden."""
    from jobs.cli import main as run

    run()


if __name__ == "__main__":
    main()
