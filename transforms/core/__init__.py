"""What every transform may use: identities, intervals, boxes."""
