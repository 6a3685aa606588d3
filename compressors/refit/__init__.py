"""Weights that make up for what was removed: solvers, the layer bank, refits layer after layer."""
