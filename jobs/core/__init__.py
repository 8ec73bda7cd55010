"""What everything else stands on: errors, names, processes, memory, stage keys."""
