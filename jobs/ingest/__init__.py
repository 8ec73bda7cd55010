"""Inputs of a run: image folders and video clips, listed as streams of frames."""
