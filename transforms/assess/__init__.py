"""Quality of results: uncertainty, scores against ground truth, review by vision language models."""
