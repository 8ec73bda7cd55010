"""Weights of models: where they lie, whether they can be loaded, what is made of them."""
