"""Recovery: fine-tuning of a compressed module, with the dense model as its teacher."""
