"""Shared foundations of all jobs: errors, names, processes, memory, stage keys."""
