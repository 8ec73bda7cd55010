"""Datasets of other origin, read: their images by name, with the objects on each."""
