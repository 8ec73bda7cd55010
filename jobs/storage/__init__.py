"""Storage: paths, workspaces, locks, and Delta tables with their data files, commits, compaction and heads."""
