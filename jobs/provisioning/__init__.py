"""Models that configurations name: where their weights lie, and what they are made from."""
