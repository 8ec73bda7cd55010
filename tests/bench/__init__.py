"""Benchmarks: `make bench` runs them all and prints one table. Nothing here is a test."""
