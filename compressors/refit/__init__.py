"""Refits of the remaining weights after pruning and rounding: solvers, the layer bank, sequential refits."""
