"""Frames of image folders and video clips: numbering, decoding, orientation, sampling."""
