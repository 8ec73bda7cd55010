"""Models over frames: embeddings, detection, segmentation, tracking, text, captions."""
