"""Models over frames: vectors, boxes, masks, text, captions, tracks."""
