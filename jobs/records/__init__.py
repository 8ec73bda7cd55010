"""Records of jobs and runs: the log of each job, claims, journals, progress, and rows of `runs`."""
