"""A run as a job: its records, its journal, pausing and resuming it, and runs that descend from it."""
