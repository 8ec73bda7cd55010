"""Exposure of brands: where text and logos are, what they say, and for how long."""
