"""What is given to a run: folders and clips, listed as streams of frames."""
