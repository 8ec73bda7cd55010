"""Datasets out of the tables: chosen frames, releases, and files that others read."""
