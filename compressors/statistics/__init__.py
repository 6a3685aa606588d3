"""Statistics of a model on calibration data: moments, outputs, batch-norm statistics, and their cache on disk."""
