"""Algorithms: arrays and Arrow tables in, arrays and Arrow tables out. No engine, no store, no workspace."""
