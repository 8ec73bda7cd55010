"""Reading bytes from disks and object stores. Nothing here interprets what is read."""
