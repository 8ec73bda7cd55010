"""File formats of datasets and annotation tools: writers for both, readers for the tools."""
