"""Reaching bytes on disks and in buckets. Nothing here decides what is in them."""
