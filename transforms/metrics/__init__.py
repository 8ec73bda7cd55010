"""Measures of decoded frames: sharpness, exposure, hashes, motion."""
