"""Execution engines: local processes, and Ray."""
