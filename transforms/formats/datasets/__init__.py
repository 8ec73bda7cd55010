"""Datasets of other origin, read: their pictures by name, with the objects on each."""
