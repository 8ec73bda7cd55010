"""The server of pages and of the API: it shows what is in tables and records, and submits jobs; it computes none."""
