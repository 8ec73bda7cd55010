"""Existing labels, brought onto frames: `winnow labels`."""
