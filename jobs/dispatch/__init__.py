"""Unattended jobs: the queue, its gateway, schedules, screens and metrics."""
