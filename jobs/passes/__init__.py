"""How a run computes: plans, blocks, workers, the engine, and the stages over tables."""
