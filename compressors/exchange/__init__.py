"""Files for other runtimes: ONNX and torch.export programs."""
