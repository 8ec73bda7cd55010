"""Duplicate grouping by perceptual hash, by layout and by embedding vector."""
