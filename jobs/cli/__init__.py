"""The command line: commands parse, call and print."""

INTERRUPTED = 130
"""Exit code of a program that its user ended, as shells have it."""


def main() -> None:
    """Run the program, most of which is yet to be imported: an interrupt meanwhile ends it without a traceback."""
    try:
        from jobs.cli.app import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
