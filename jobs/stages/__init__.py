"""Builds the stages that a configuration runs, with their models, checked before any work."""
