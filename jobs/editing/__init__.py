"""Review in the browser: leases of frames, edits as events, states, and their publication to the tables."""
