"""Runs stages: plans, blocks, workers, and a runner for each kind of stage."""
