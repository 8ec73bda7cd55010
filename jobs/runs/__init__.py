"""One run: preparing, running, controlling, replaying and following it."""
