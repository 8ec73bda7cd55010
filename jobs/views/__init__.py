"""Reading the tables: which rows a run, a release or the current version shows."""
