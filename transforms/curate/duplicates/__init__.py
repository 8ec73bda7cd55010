"""Groups of duplicates: by hash, by layout, by vector."""
