"""Files that people send to a workspace: received piece by piece, hashed, probed, and kept under names of content."""
