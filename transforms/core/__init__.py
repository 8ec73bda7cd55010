"""Helpers that every transform may use: row identities, frame intervals, boxes."""
