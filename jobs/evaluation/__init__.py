"""Evaluation of trained models on frames that they have not seen, comparisons, and what may become champion."""
