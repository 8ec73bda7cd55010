"""Training of detectors on exported datasets."""
