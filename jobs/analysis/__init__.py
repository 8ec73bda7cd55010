"""Analysis of the tables: reports, evaluation against ground truth, differences between runs."""
