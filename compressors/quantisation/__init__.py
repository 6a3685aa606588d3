"""Weights and activations on few levels."""
