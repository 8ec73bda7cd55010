"""How good results are: uncertainty, scores against ground truth, questions to other models."""
