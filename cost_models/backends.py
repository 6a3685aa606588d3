"""Latency backends: the classes behind `latency_options.BACKENDS`, which run compressed models."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.compressor import Compressed
from leanfront.core.cost_models.latency_options import LatencyOptions
from leanfront.core.cost_models.profile import Profile
from leanfront.core.cost_models.timing import Run
from leanfront.core.targets.memory_format import like_weights
from leanfront.errors import CompressionError


class Torch:
    """Backend that runs modules as `candidate.module()` returns them, with simulated activation quantisers."""

    def __init__(self, profile: Profile, options: LatencyOptions) -> None:
        self._inputs = batch_of(profile.example_input, options.batch)

    def run(self, compressed: Compressed) -> Run:
        """Return a function that runs one forward pass without gradients."""
        module: nn.Module = compressed.module.eval()
        inputs = like_weights(module, self._inputs)

        def once() -> object:
            with torch.inference_mode():
                return module(inputs)

        return once


class OnnxRuntime:
    """Backend that runs files as `candidate.export("model.onnx")` writes them, on ONNX Runtime's CPU provider."""

    def __init__(self, profile: Profile, options: LatencyOptions) -> None:
        self._profile = profile
        self._threads = options.threads
        self._inputs = batch_of(profile.example_input, options.batch).numpy()
        # Every search imports this module, and few measure latency: ONNX takes a second to import.
        from leanfront.core.cost_models.tracing import Tracer

        self._tracer = Tracer(profile)

    def run(self, compressed: Compressed) -> Run:
        """Open a session and return a function that runs it once."""
        from leanfront.core.compressors.exchange.onnx_outputs import onnx_session

        content = self._tracer.file(compressed)
        try:
            session = onnx_session(content, self._threads)
            inputs = {session.get_inputs()[0].name: self._inputs}
            session.run(None, inputs)
        except Exception as error:  # its errors share no base class
            raise CompressionError(f"ONNX Runtime cannot run this model: {error}") from error
        return lambda: session.run(None, inputs)


def batch_of(example_input: Tensor, size: int) -> Tensor:
    """Repeat the example to a contiguous batch (size, ...)."""
    return example_input[:1].expand(size, *example_input.shape[1:]).contiguous()


def place(options: LatencyOptions) -> dict[str, Any]:
    """Describe where a latency is measured: the options, the processor and the release of the backend."""
    release = importlib.metadata.version(options.backend)
    return {**options.to_json(), "processor": processor(), "release": release}


def processor() -> str:
    """Return the name of the processor, as the system reports it."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"
