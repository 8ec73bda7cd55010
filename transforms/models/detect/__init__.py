"""Object detectors: decoded frames in, boxes with scores and labels out. Heavy libraries are imported lazily."""
