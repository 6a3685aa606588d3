"""Recovery: a compressed module is trained on, with the dense one as its teacher."""
