"""Verdicts and annotations held against labels."""
