"""What runs: stages, plans, the engine, the store, queries, exports, reports and the command line."""
