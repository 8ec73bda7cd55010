"""Formats of annotation tools, one per module: objects for review out, reviewed objects back in.

An image's file name, `STREAM/NUMBER-HASH.jpg`, identifies the frame by stream, number and the first digits of its
content hash, so that tools need to keep no other metadata.
"""
