"""What of a model can be cut: its layers, its channel groups and heads, and the proofs that they are."""
