"""Pages to look at: charts, timelines and contact sheets without a network."""
