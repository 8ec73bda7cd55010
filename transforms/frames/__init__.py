"""Frames of folders and clips: numbering, decoding, orientation, sampling."""
