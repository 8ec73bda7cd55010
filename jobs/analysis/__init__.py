"""What the tables say: reports, evaluation against ground truth, differences between runs."""
