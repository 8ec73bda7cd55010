"""`python -m jobs.cli` is the program `winnow`."""

from jobs.cli import main

main()
