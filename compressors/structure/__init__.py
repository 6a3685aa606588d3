"""Structure of a model: its layers, channel groups and attention heads, and proofs that these can be cut."""
