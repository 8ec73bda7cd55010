"""Model weights: location, verification, and loading."""
