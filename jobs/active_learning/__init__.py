"""Active learning: rounds that have people review where a model is uncertain, train it on that, and measure it."""
