"""Quantisation of weights, activations and biases."""
