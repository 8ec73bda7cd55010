"""Datasets from the tables: sampled frames, releases, exports."""
