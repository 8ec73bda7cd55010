"""Formats of annotation tools, one per module: objects to look over out, what people made of them back in.

A picture's file name says which frame it is and what it shows, so that no tool has to carry along anything else:
`STREAM/NUMBER-HASH.jpg`, with the first digits of the hash of its content.
"""
