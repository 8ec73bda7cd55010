"""What is on record of jobs and runs: requests, claims, journals, progress."""
