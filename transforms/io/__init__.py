"""Reading and writing bytes on disks and in object stores. Nothing here interprets them."""
