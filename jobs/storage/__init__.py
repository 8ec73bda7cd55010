"""The tables on disk: data files, commits, compaction, and which rows are the current ones."""
