"""Detectors: decoded frames in, boxes with scores and labels out. Heavy libraries load where they are needed."""
