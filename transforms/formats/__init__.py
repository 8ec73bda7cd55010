"""File formats of datasets and of annotation tools: rows in, bytes out, and back."""
