"""What to keep: scenes, idle intervals, duplicates, verdicts, samples, splits."""
