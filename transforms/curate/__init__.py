"""Selection of frames: scenes, idle intervals, duplicates, keep decisions, samples, splits."""
