"""Diagnosis of a machine and a workspace: what is wrong, and how to fix it."""
