"""What runs: inputs, stages, engine, store, queries, datasets, jobs and the command line."""
